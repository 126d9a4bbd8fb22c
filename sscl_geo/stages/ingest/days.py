"""The days of a period over a piece of a tile: from scenes, or from a cube that kept them."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import GROUP_GSD, Band, Sensor
from sscl_geo.io.observations import power, reflectance, scene_classes
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.store import Store
from sscl_geo.ops.masks import scl_bits
from sscl_geo.ops.scaling import linear
from sscl_geo.ops.swath import SwathSpec, trimmed
from sscl_geo.stages.ingest.grouping import solar_day
from sscl_geo.stages.ingest.view import View

MASK_GSD = 20


@runtime_checkable
class Days(Protocol):
    """A sensor's solar days over the pieces of one tile; one day is one observation."""

    @property
    def dates(self) -> tuple[date, ...]:
        """The days, ascending."""

    def bits(self, part: Window, margin: int) -> UInt8[np.ndarray, "time y x"]:
        """Return the mask bits of a piece at 20 m, with a margin of such pixels.

        Where a day has no mask there is no bit.
        """

    def band(
        self, part: Window, band: Band, group: str, out: UInt16[np.ndarray, "time y x"]
    ) -> None:
        """Fill `out` with canonical DN of a piece in the pixels of a cube group; 0 is nodata."""

    def power(self, part: Window, band: Band, day: int) -> Float32[np.ndarray, "y x"]:
        """Return the backscatter of one day in linear power at 10 m; NaN is nodata."""


class SceneDays(NamedTuple):
    """Days read from scenes; of the scenes of a day the first that has a pixel gives it.

    Attributes:
        reader: Reads scenes.
        grid: The tile's grid.
        days: The scenes of each day, by time and id.
        longitude: Where solar days are told, in degrees.
        swath: How the edges of radar swaths are cleaned.
    """

    reader: GeoTiffReader
    grid: Grid
    days: Sequence[Sequence[Scene]]
    longitude: float
    swath: SwathSpec

    @property
    def dates(self) -> tuple[date, ...]:
        """The days, ascending."""
        return tuple(solar_day(day[0], self.longitude) for day in self.days)

    def bits(self, part: Window, margin: int) -> UInt8[np.ndarray, "time y x"]:
        """Return the mask bits of a piece at 20 m, with a margin of such pixels."""
        view = View(self.reader, self.grid, part)
        return np.stack([self._day_bits(view, day, margin) for day in self.days])

    def _day_bits(self, view: View, day: Sequence[Scene], margin: int) -> UInt8[np.ndarray, "y x"]:
        block = view.block(MASK_GSD, margin)
        if all(scene.mask_href is None for scene in day):
            return np.zeros((block.height, block.width), np.uint8)
        return scl_bits(view.mosaic(day, scene_classes, 0, block))

    def band(
        self, part: Window, band: Band, group: str, out: UInt16[np.ndarray, "time y x"]
    ) -> None:
        """Fill `out` with canonical DN of a piece in the pixels of a cube group; 0 is nodata."""
        view = View(self.reader, self.grid, part)
        block = view.block(GROUP_GSD[group])
        for layer, day in zip(out, self.days, strict=True):
            view.mosaic(day, reflectance(band.name), 0, block, layer)

    def power(self, part: Window, band: Band, day: int) -> Float32[np.ndarray, "y x"]:
        """Return the backscatter of one day, its swath's edges cleaned."""
        view, margin = View(self.reader, self.grid, part), self.swath.reach
        block = view.block(10, margin)
        samples = view.mosaic(self.days[day], power(band.name), np.nan, block)
        samples[~trimmed(~np.isnan(samples), self.swath)] = np.nan
        inner = slice(margin, -margin or None)
        return samples[inner, inner]


class CubeDays(NamedTuple):
    """Days read from a daily cube.

    Attributes:
        store: The daily cube.
        zone: The tile's zone.
        sensor: The sensor, with the cube's bands.
        days: Index on the cube's time axis, and date, of each day.
    """

    store: Store
    zone: str
    sensor: Sensor
    days: Sequence[tuple[int, date]]

    @property
    def dates(self) -> tuple[date, ...]:
        """The days, ascending."""
        return tuple(day for _, day in self.days)

    def bits(self, part: Window, margin: int) -> UInt8[np.ndarray, "time y x"]:
        """Return the mask bits of a piece at 20 m, with a margin of such pixels."""
        wide = part.at(MASK_GSD).grown(margin)
        path = f"{self.zone}/r20m/mask_{self.sensor.array}"
        return np.stack([self.store.read(path, (index,), wide) for index, _ in self.days])

    def band(
        self, part: Window, band: Band, group: str, out: UInt16[np.ndarray, "time y x"]
    ) -> None:
        """Fill `out` with canonical DN of a piece in the pixels of a cube group; 0 is nodata."""
        window = part.at(GROUP_GSD[group])
        place = self._place(band, group)
        for layer, (index, _) in zip(out, self.days, strict=True):
            layer[...] = self._read(index, place, group, window)

    def power(self, part: Window, band: Band, day: int) -> Float32[np.ndarray, "y x"]:
        """Return the backscatter of one day, as the cube keeps it."""
        place = self._place(band, "r10m")
        return linear(self._read(self.days[day][0], place, "r10m", part), self.sensor.nodata)

    def _place(self, band: Band, group: str) -> int:
        return self.sensor.groups[group].index(band)

    def _read(self, index: int, place: int, group: str, window: Window) -> np.ndarray:
        path = f"{self.zone}/{group}/{self.sensor.array}"
        return self.store.read(path, (index, place), window)
