"""From chips to chips whose radar has less speckle, made once and not in every epoch."""

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

FILTERS = "sscl_geo.ops.despeckle"
VERSION = 1


def despeckle_chips(chips: AnyLocation, out: AnyLocation, name: str, looks: float) -> Chips:
    """Write chips again with their radar bands filtered; everything else stays.

    Args:
        chips: A store of chips.
        out: The new store.
        name: Name of the filter plugin.
        looks: Equivalent number of looks; about 4.4 for Sentinel-1 IW GRD.

    Raises:
        InvalidInputError: There is no such filter, or the chips have no radar.
        PlanConflictError: Another command made what stands at `out`.
    """
    plugins.find(FILTERS, name)
    if looks <= 0:
        raise InvalidInputError(f"--looks {looks:g}: must be above 0; Sentinel-1 IW GRD has 4.4")
    opened = Chips.open(chips)
    if not any(sensor.kind == "sar" for sensor in opened.spec.sensors):
        raise InvalidInputError(f"{chips}: has no radar to filter")
    source: ChipSource = _Filtered(opened, name, looks)
    return write_chips(source, out)


class _Filtered(NamedTuple):
    source: Chips
    name: str
    looks: float

    @property
    def spec(self) -> ChipsSpec:
        return self.source.spec

    @property
    def chips(self) -> list[Chip]:
        return self.source.chips

    @property
    def identity(self) -> str:
        return digest([VERSION, self.source.store.plan.digest, self.name, self.looks])

    def read(self, number: int) -> ChipPixels:
        arrays = {}
        for sensor in self.spec.sensors:
            stored = np.asarray(self.source.store.array(sensor.array)[number])
            arrays[sensor.array] = (
                np.stack([self._filtered(band, sensor) for band in stored])
                if sensor.kind == "sar"
                else stored
            )
        is_labelled = self.spec.legend is not None
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
