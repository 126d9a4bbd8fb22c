"""A map's pieces of one class as polygons, the same whatever its tiles."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import rasterio.features
import shapely
from jaxtyping import Int32, Int64, UInt8
from shapely.geometry.base import BaseGeometry

from sscl_geo.geo.grid import Grid, Tile, Window
from sscl_geo.io.areas import own_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.ops.pieces import Graph, merged, numbered, part_of, stitched


class Outlined(NamedTuple):
    """Pieces of one grid as polygons, in the order of their first pixel.

    Attributes:
        value: Class of each.
        hectares: Its area on the ground.
        outline: Its polygon in the grid's CRS; its corners are corners of pixels.
    """

    value: UInt8[np.ndarray, " pieces"]
    hectares: np.ndarray
    outline: list[BaseGeometry]


def outlined(mapped: Classes, grid: Grid, fewest_px: int) -> Outlined:
    """Return what a grid owns as pieces with at least so many pixels.

    The map is read twice, tile by tile. Memory holds the pieces, before and after small ones are
    merged, and the polygons.
    """
    graph, number = stitched(
        part_of(classes, (tile.row, tile.column), (window.y, window.x), grid.shape[1])
        for tile, window, classes in _tiles(mapped, grid)
    )
    left, into = merged(graph, fewest_px)
    hectares = np.zeros(len(left.value))
    outlines: dict[int, list[BaseGeometry]] = defaultdict(list)
    for window, pieces in _numbers(mapped, grid, into[number]):
        found = np.bincount(pieces.ravel(), own_hectares(grid, window).ravel())
        hectares[: len(found) - 1] += found[1:]
        shapes = rasterio.features.shapes(
            pieces, pieces > 0, connectivity=4, transform=grid.block(window).transform
        )
        for outline, piece in shapes:
            outlines[int(piece) - 1].append(shapely.geometry.shape(outline))
    return Outlined(left.value, hectares, _whole(left, outlines))


def _tiles(mapped: Classes, grid: Grid) -> Iterator[tuple[Tile, Window, UInt8[np.ndarray, "y x"]]]:
    for tile in grid.tiles:
        window = grid.window(tile)
        classes = mapped.read(grid.zone, window)
        yield tile, window, np.where(own_hectares(grid, window) > 0, classes, np.uint8(0))


def _numbers(
    mapped: Classes, grid: Grid, into: Int64[np.ndarray, " pieces"]
) -> Iterator[tuple[Window, Int32[np.ndarray, "y x"]]]:
    """Yield each tile's pixels as numbers of merged pieces, from 1 on."""
    table = np.concatenate([[0], into + 1]).astype(np.int32)
    offset = 0
    for _, window, classes in _tiles(mapped, grid):
        pieces = numbered(classes)
        yield window, table[np.where(pieces > 0, pieces + offset, 0)]
        offset += int(pieces.max())


def _whole(left: Graph, outlines: dict[int, list[BaseGeometry]]) -> list[BaseGeometry]:
    """Join the parts of pieces that tiles cut, and drop the corners that the cuts left."""
    joined = [shapely.union_all(outlines.pop(piece)) for piece in range(len(left.value))]
    # From its lowest corner on a ring has no corner between two others on one line.
    return [*shapely.simplify(shapely.normalize(joined), 0)]
