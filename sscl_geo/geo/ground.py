"""Pixels on the Earth: where tiles and blocks lie in degrees, and which grid owns a place."""

from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pyproj import Transformer

from sscl_geo.geo.bbox import EAST_EDGE, POLE, BBox, meet
from sscl_geo.geo.grid import Block, Grid, Tile, Window

# Points per side of a tile that is carried to degrees: between them its edges bend by millimetres.
_TILE_POINTS = 21

DEGREES = "EPSG:4326"

Coordinates = Float64[np.ndarray, "*place"]


@cache
def transformer(source: str, target: str) -> Transformer:
    """Return the transformation between two CRS; axes are always (x, y)."""
    return Transformer.from_crs(source, target, always_xy=True)


def tile_bbox(grid: Grid, tile: Tile) -> BBox:
    """Return a box in degrees that holds the tile's ground."""
    return block_bbox(grid.block(grid.window(tile)))


def block_bbox(block: Block) -> BBox:
    """Return a box in degrees that holds a block's ground."""
    left, bottom, right, top = block.bounds
    across, up = (np.linspace(*ends, _TILE_POINTS) for ends in ((left, right), (bottom, top)))
    x = np.concatenate([across, across, np.full_like(up, left), np.full_like(up, right)])
    y = np.concatenate([np.full_like(across, bottom), np.full_like(across, top), up, up])
    longitude, latitude = transformer(block.crs, DEGREES).transform(x, y)
    for latitude_of_pole, x_of_pole, y_of_pole in _poles(block.crs):
        if left <= x_of_pole <= right and bottom <= y_of_pole <= top:
            south, north = min(*latitude, latitude_of_pole), max(*latitude, latitude_of_pole)
            return BBox(-EAST_EDGE, float(south), EAST_EDGE, float(north))
    west, east = float(longitude.min()), float(longitude.max())
    if east - west > 180:  # noqa: PLR2004 - the box crosses the antimeridian
        west, east = float(longitude[longitude > 0].min()), float(longitude[longitude < 0].max())
    return BBox(west, float(latitude.min()), east, float(latitude.max()))


@cache
def _poles(crs: str) -> tuple[tuple[float, float, float], ...]:
    """Return latitude, x and y of the poles that a CRS can tell."""
    there = [(pole, *transformer(DEGREES, crs).transform(0.0, pole)) for pole in (POLE, -POLE)]
    return tuple(place for place in there if np.isfinite(place).all())


def inside_bbox(block: Block, bbox: BBox) -> Bool[np.ndarray, "y x"]:
    """Return where a block's pixel centres lie in a half-open box in degrees."""
    around = block_bbox(block)
    if _contains(bbox, around) or not meet(bbox, around):
        return np.full((block.height, block.width), meet(bbox, around))
    x = block.transform.c + block.transform.a * (np.arange(block.width) + 0.5)
    y = block.transform.f + block.transform.e * (np.arange(block.height) + 0.5)
    longitude, latitude = transformer(block.crs, DEGREES).transform(*np.meshgrid(x, y))
    inside = np.zeros((block.height, block.width), np.bool_)
    for part in bbox.split():
        across = (longitude >= part.west) & (longitude < part.east)
        inside |= across & (latitude >= part.south) & (latitude < part.north)
    return inside


def located(
    grid: Grid, gsd: int, crs: str, x: Coordinates, y: Coordinates
) -> tuple[Int64[np.ndarray, "*place"], Int64[np.ndarray, "*place"]]:
    """Return row and column of the pixel under each place, which may lie beyond the grid.

    A place that the grid's CRS cannot tell lies far beyond it.

    Args:
        grid: The grid.
        gsd: Metres of the pixels that are counted.
        crs: CRS of the places.
        x: Their eastings, or longitudes.
        y: Their northings, or latitudes.
    """
    there_x, there_y = transformer(crs, grid.crs).transform(x, y, errcheck=False)
    far = np.iinfo(np.int32).max
    rows, columns = (
        np.floor(np.nan_to_num(number, nan=far, posinf=far, neginf=far)).astype(np.int64)
        for number in ((grid.origin[1] - there_y) / gsd, (there_x - grid.origin[0]) / gsd)
    )
    return rows, columns


def owned(grid: Grid, window: Window) -> Bool[np.ndarray, "y x"]:
    """Return where pixel centres are the grid's own, so that no place is counted twice."""
    block = grid.block(window)
    if grid.owns is None:
        return np.ones((window.height, window.width), np.bool_)
    return inside_bbox(block, grid.owns)


def _contains(outer: BBox, inner: BBox) -> bool:
    if inner.crosses_antimeridian:
        return False
    within = outer.west <= inner.west and inner.east < outer.east
    return within and outer.south <= inner.south and inner.north < outer.north
