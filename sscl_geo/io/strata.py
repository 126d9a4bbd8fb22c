"""The pixels of a map by class, in the order of its tiles."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from sscl_geo.geo.ground import owned
from sscl_geo.io.areas import tiles_of
from sscl_geo.io.cubes import Classes


class Census(NamedTuple):
    """How many pixels of each class a map has; classes are in the legend's order.

    Attributes:
        pixels: Their number by (tile, class), where the tile's grid owns them.
        hectares: Their area on the ground by class.
    """

    pixels: Int64[np.ndarray, "tile k"]
    hectares: Float64[np.ndarray, " k"]


class Pixel(NamedTuple):
    """A pixel of a map: its zone, its row and column at 10 m, and its class."""

    zone: str
    row: int
    column: int
    value: int


def census(mapped: Classes) -> Census:
    """Count the pixels of each class, tile by tile."""
    values, counts = list(mapped.legend.values), []
    hectares = np.zeros(len(values))
    for tile in tiles_of(mapped):
        own = tile.hectares > 0
        counts.append(np.bincount(tile.landcover[own], minlength=256)[values])
        hectares += np.bincount(tile.landcover.ravel(), tile.hectares.ravel(), 256)[values]
    return Census(np.array(counts, np.int64), hectares)


def pixels_of(
    mapped: Classes,
    pixels: Int64[np.ndarray, "tile k"],
    ranks: Sequence[Int64[np.ndarray, " _"]],
) -> Iterator[Pixel]:
    """Yield the pixels of each class that have the given positions; other tiles are not read.

    Args:
        mapped: The map.
        pixels: Its census.
        ranks: For each class, positions among its pixels, ascending: by tile, and row by row.
    """
    before = np.cumsum(pixels, axis=0) - pixels
    tiles = [(grid, tile) for grid in mapped.grids for tile in grid.tiles]
    for (grid, tile), starts, counts in zip(tiles, before, pixels, strict=True):
        bounds = [
            np.searchsorted(chosen, (start, start + count))
            for chosen, start, count in zip(ranks, starts, counts, strict=True)
        ]
        if all(first == last for first, last in bounds):
            continue
        window = grid.window(tile)
        landcover = np.where(owned(grid, window), mapped.read(grid.zone, window), 0).ravel()
        for value, chosen, start, (first, last) in zip(
            mapped.legend.values, ranks, starts, bounds, strict=True
        ):
            places = np.flatnonzero(landcover == value)[chosen[first:last] - start]
            for row, column in zip(*np.divmod(places, window.width), strict=True):
                yield Pixel(grid.zone, window.y + int(row), window.x + int(column), value)
