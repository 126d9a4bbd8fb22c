"""Hectares of a map's classes, tile by tile."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import owned
from sscl_geo.geo.surface import pixel_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.io.polygons import Polygons

VALUES = 256
"""Number of values that a class may have, 0 for none included."""


class Ground(NamedTuple):
    """A tile of a map.

    Attributes:
        grid: Its grid.
        window: Its pixels.
        landcover: Their class values, 0 where nothing is mapped.
        hectares: Their areas on the ground, 0 where another grid owns them.
    """

    grid: Grid
    window: Window
    landcover: UInt8[np.ndarray, "y x"]
    hectares: Float64[np.ndarray, "y x"]


def tiles_of(mapped: Classes) -> Iterator[Ground]:
    """Yield the tiles of a map; of all together, each place has its area once."""
    for grid in mapped.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            yield Ground(grid, window, mapped.read(grid.zone, window), own_hectares(grid, window))


def own_hectares(grid: Grid, window: Window) -> Float64[np.ndarray, "y x"]:
    """Return the area of each pixel, 0 where another grid owns it."""
    return np.where(owned(grid, window), pixel_hectares(grid, window), 0.0)


def class_hectares(mapped: Classes) -> Float64[np.ndarray, " value"]:
    """Return the area of each class value; that of 0 is the ground of tiles without a class."""
    return sum(
        (_summed(tile.landcover, tile.hectares) for tile in tiles_of(mapped)), np.zeros(VALUES)
    )


def zonal_hectares(mapped: Classes, zones: Polygons) -> Float64[np.ndarray, "zone value"]:
    """Return the area of each class value in each of the zones, by pixel centres.

    Zones that overlap each have what lies in both; what lies in none is not counted.
    """
    total = np.zeros((len(zones.names), VALUES))
    for tile in tiles_of(mapped):
        for index, slices, is_inside in zones.on(tile.grid, tile.window):
            inside = np.where(is_inside, tile.hectares[slices], 0.0)
            total[index] += _summed(tile.landcover[slices], inside)
    return total


def _summed(
    values: UInt8[np.ndarray, "y x"], hectares: Float64[np.ndarray, "y x"]
) -> Float64[np.ndarray, " value"]:
    return np.bincount(values.ravel(), hectares.ravel(), VALUES)
