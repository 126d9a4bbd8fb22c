"""Places where meridians and parallels cross, and the tiles of web maps that are made of them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.surface import EARTH

TILE_PX = 256
"""Side of a tile of a web map."""

DEEPEST = 22
"""Largest zoom: pixels of 4 cm."""

CIRCUMFERENCE = 2 * math.pi * EARTH.a
"""Of the equator, in metres; the side of the square world of EPSG:3857."""


class Graticule(NamedTuple):
    """Places where meridians and parallels cross.

    Attributes:
        longitudes: Of the columns, in degrees, -180 <= longitude < 180.
        latitudes: Of the rows, in degrees.
    """

    longitudes: Float64[np.ndarray, " x"]
    latitudes: Float64[np.ndarray, " y"]

    def inside(self, box: BBox) -> tuple[Bool[np.ndarray, " y"], Bool[np.ndarray, " x"]]:
        """Return which rows and columns lie in a half-open box."""
        rows = (self.latitudes >= box.south) & (self.latitudes < box.north)
        columns = np.zeros(len(self.longitudes), np.bool_)
        for part in box.split():
            columns |= (self.longitudes >= part.west) & (self.longitudes < part.east)
        return rows, columns


class WebTile(NamedTuple):
    """A tile of a web map (XYZ): a square of EPSG:3857, counted from the north-west.

    Attributes:
        z: Zoom, 0 for the whole world in one tile.
        x: Column, 0 <= x < 2 ** z.
        y: Row, 0 <= y < 2 ** z.
    """

    z: int
    x: int
    y: int

    @property
    def is_real(self) -> bool:
        """Whether there is such a tile."""
        side = 2**self.z if 0 <= self.z <= DEEPEST else 0
        return 0 <= self.x < side and 0 <= self.y < side

    @property
    def graticule(self) -> Graticule:
        """The centres of its pixels.

        By the inverse of the spherical Mercator projection, which EPSG:3857 takes for geographic
        latitude (IOGP 373-7-2, section 3.2.1.2).
        """
        centres = (np.arange(TILE_PX) + 0.5) / TILE_PX
        across, down = ((first + centres) / 2**self.z for first in (self.x, self.y))
        latitudes = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * down))))
        return Graticule(360 * across - 180, latitudes)

    @property
    def gsd(self) -> float:
        """Metres on the ground from one pixel to the next, in its middle."""
        middle = math.atan(math.sinh(math.pi * (1 - 2 * (self.y + 0.5) / 2**self.z)))
        return equator_gsd(self.z) * math.cos(middle)


def equator_gsd(zoom: int) -> float:
    """Return the metres on the ground from one pixel of a web map to the next, on the equator."""
    return float(CIRCUMFERENCE / TILE_PX / 2**zoom)


def zoom_of(gsd: float) -> int:
    """Return the smallest zoom whose pixels are at most `gsd` metres apart everywhere."""
    return max(0, math.ceil(math.log2(equator_gsd(0) / gsd)))
