"""A map's layers on any ground: read as they lie, or warped from all zones to another CRS."""

from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from sscl_geo.geo.boxes import Boxes
from sscl_geo.geo.grid import GSD, Block, Grid, Window
from sscl_geo.geo.ground import Coordinates, block_bbox, inside_bbox, located, tile_bbox
from sscl_geo.io.cubes import Classes
from sscl_geo.io.layout import NO_CONFIDENCE
from sscl_geo.io.maps import CONFIDENCE, LANDCOVER, layer_path

Layer = UInt8[np.ndarray, "y x"]

NODATA = {LANDCOVER: 0, CONFIDENCE: NO_CONFIDENCE}

ROWS = 512
"""Rows of a block that are placed at a time, for less memory."""


def own_layer(mapped: Classes, zone: str, name: str, window: Window) -> Layer:
    """Return a layer of a zone as it lies."""
    return mapped.store.read(layer_path(zone, name), (), window)


def warped_layer(mapped: Classes, name: str, block: Block) -> Layer:
    """Return a layer of all zones on a block's pixels, each from the nearest.

    Where zones of a map overlap, the zone is read that owns the centre of a block's pixel.
    """
    out = np.full((block.height, block.width), NODATA[name], np.uint8)
    here = block_bbox(block)
    for grid in mapped.grids:
        if _boxes(grid).meeting(here).size:
            _add(out, mapped, grid, name, block)
    return out


@lru_cache
def _boxes(grid: Grid) -> Boxes:
    """Return a box in degrees around each tile of a grid."""
    return Boxes([tile_bbox(grid, tile) for tile in grid.tiles])


def _add(out: Layer, mapped: Classes, grid: Grid, name: str, block: Block) -> None:
    """Write a zone's pixels into a block, some rows at a time.

    The place of every pixel's centre is computed; GDAL would interpolate it along a row, and then
    a pixel would depend on the block that it is in.
    """
    for rows in block.window.blocks(ROWS, block.width):
        y, x = located(grid, GSD, block.crs, *_centres(block, rows))
        is_inside = Window(0, 0, *grid.shape).holds(y, x)
        if grid.owns is not None:
            is_inside &= inside_bbox(block.part(rows), grid.owns)
        if not is_inside.any():
            continue
        window = Window.around(y[is_inside], x[is_inside])
        source = mapped.store.read(layer_path(grid.zone, name), (), window)
        found = source[y[is_inside] - window.y, x[is_inside] - window.x]
        part = out[rows.slices]
        part[is_inside] = np.where(found == NODATA[name], part[is_inside], found)


def _centres(block: Block, rows: Window) -> tuple[Coordinates, Coordinates]:
    """Return x and y of the pixel centres of some of a block's rows."""
    columns = np.arange(block.width) + 0.5
    x, y = block.transform @ np.meshgrid(columns, np.arange(rows.y, rows.y + rows.height) + 0.5)
    return np.asarray(x), np.asarray(y)
