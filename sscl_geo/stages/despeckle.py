"""From chips to chips with a second, smoother radar beside the first, made once for all epochs."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import digest
from sscl_geo.geo.chips import Chip, ChipsSpec
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.chips import ChipPixels, Chips, ChipSource, write_chips
from sscl_geo.io.location import AnyLocation
from sscl_geo.ops.scaling import centidecibel, linear
from sscl_geo.sensors import sensor_of

FILTERS = "sscl_geo.ops.despeckle"
SENSORS = "sscl_geo.sensors"
SMOOTH = "_despeckled"
"""What the name of a filtered sensor adds to the first one's."""

VERSION = 1


def despeckle_chips(chips: AnyLocation, out: AnyLocation, name: str, looks: float) -> Chips:
    """Write chips again, with filtered copies of their radar bands as another sensor.

    A study chooses between them by its `inputs`, such as `sentinel1_grd_despeckled`.

    Args:
        chips: A store of chips.
        out: The new store.
        name: Name of the filter plugin.
        looks: Equivalent number of looks; about 4.4 for Sentinel-1 IW GRD.

    Raises:
        InvalidInputError: There is no such filter, or the chips have no radar that has a filtered
            counterpart among the sensors.
        PlanConflictError: Another command made what stands at `out`.
    """
    plugins.find(FILTERS, name, "--filter")
    if not 0 < looks < math.inf:
        raise InvalidInputError(f"--looks {looks:g}: must be above 0; Sentinel-1 IW GRD has 4.4")
    opened = Chips.open(chips)
    known = plugins.names(SENSORS)
    rough = [s for s in opened.spec.sensors if f"{s.name}{SMOOTH}" in known]
    if not rough:
        raise InvalidInputError(
            f"{chips}: has no radar to filter; a sensor needs a counterpart named with {SMOOTH}"
        )
    source: ChipSource = _Filtered(opened, tuple(rough), name, looks)
    return write_chips(source, out)


class _Filtered(NamedTuple):
    source: Chips
    rough: tuple[Sensor, ...]
    name: str
    looks: float

    @property
    def spec(self) -> ChipsSpec:
        smooth = tuple(_smooth(sensor) for sensor in self.rough)
        return self.source.spec.replace(sensors=(*self.source.spec.sensors, *smooth))

    @property
    def chips(self) -> list[Chip]:
        return self.source.chips

    @property
    def identity(self) -> str:
        return digest([VERSION, self.source.store.plan.digest, self.name, self.looks])

    def read(self, number: int) -> ChipPixels:
        arrays = {
            sensor.array: np.asarray(self.source.store.array(sensor.array)[number])
            for sensor in self.source.spec.sensors
        }
        for sensor in self.rough:
            bands = [self._filtered(band, sensor) for band in arrays[sensor.array]]
            arrays[_smooth(sensor).array] = np.stack(bands)
        is_labelled = self.source.spec.legend is not None
        labels = np.asarray(self.source.store.array("labels")[number]) if is_labelled else None
        return ChipPixels(arrays, labels)

    def _filtered(self, stored: Int16[np.ndarray, "y x"], sensor: Sensor) -> np.ndarray:
        """Return a band with less speckle; missing pixels stay so, and count as the median."""
        power = linear(stored, sensor.nodata)
        is_known = ~np.isnan(power)
        if not is_known.any():
            return stored
        whole = np.where(is_known, power, np.float32(np.median(power[is_known])))
        smooth = plugins.find(FILTERS, self.name).despeckle(whole, self.looks)
        return np.where(is_known, centidecibel(smooth, sensor.nodata), stored)


def _smooth(sensor: Sensor) -> Sensor:
    found = sensor_of(f"{sensor.name}{SMOOTH}")
    return found.replace(
        bands=tuple(band for band in found.bands if band.name in {b.name for b in sensor.bands})
    )
