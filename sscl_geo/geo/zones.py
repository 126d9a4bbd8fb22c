"""Which grids cover an area: UTM zones, or one named CRS."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import GSD, SNAP, Grid
from sscl_geo.geo.ground import DEGREES, transformer

# Pieces into which the longest side of an area is cut before it is carried to another CRS, where
# its edges bend: the box of a continent bends by less than a metre between so many points.
_PIECES = 2000

SOUTHERN_LIMIT, NORTHERN_LIMIT = -80, 84
"""The latitudes that UTM covers."""

BEYOND_USE = 6
"""How far, in degrees, an area may reach beyond what a CRS is made for: one UTM zone."""


def grids_of(area: Area, choice: str, tile_px: int, option: str = "--grid") -> tuple[Grid, ...]:
    """Return the grids that cover an area; together they own each of its places exactly once.

    Args:
        area: The area.
        choice: `auto` for one grid in each UTM zone and hemisphere that the area touches, or one
            projected CRS in metres, such as `EPSG:3035`. The zones are 6 degrees wide everywhere,
            also where Sentinel-2's own tiling widens some of them (Norway, Svalbard).
        tile_px: Side of a tile at 10 m.
        option: What the user calls the choice.

    Raises:
        InvalidInputError: The CRS is unknown or not in metres, or UTM does not cover the latitude.
    """
    if choice != "auto":
        crs = _metric(choice, option)
        _check_use(crs, area, option)
        return (_grid(crs, area.polygon, tile_px),)
    return tuple(_utm_grids(area, tile_px))


def _utm_grids(area: Area, tile_px: int) -> Iterator[Grid]:
    south, north = area.bbox.south, area.bbox.north
    if south < SOUTHERN_LIMIT or north > NORTHERN_LIMIT:
        raise InvalidInputError(
            f"--grid auto: UTM covers latitudes {SOUTHERN_LIMIT}..{NORTHERN_LIMIT}, the area "
            f"reaches {south:g}..{north:g}; name a polar CRS in metres, such as --grid EPSG:3031 "
            "or EPSG:3413"
        )
    for crs, owns in _zones(area.bbox):
        ground = area.within(owns)
        if ground.area > 0:
            yield _grid(crs, ground, tile_px).replace(owns=owns)


def _zones(bbox: BBox) -> Iterator[tuple[str, BBox]]:
    """Yield zones of one hemisphere; the ground on the equator is the northern one's."""
    halves = ((326, 0.0, 90.0), (327, -90.0, 0.0))
    for part in bbox.split():
        first, last = int((part.west + 180) // 6) + 1, math.ceil((part.east + 180) / 6)
        for number in range(first, last + 1):
            west = 6.0 * number - 186
            for code, south, north in halves:
                if part.south < north and part.north > south:
                    yield f"EPSG:{code}{number:02d}", BBox(west, south, west + 6, north)


def _metric(name: str, option: str) -> str:
    try:
        crs = CRS.from_user_input(name)
    except CRSError:
        raise InvalidInputError(
            f"{option} {name!r}: unknown; give a projected CRS such as EPSG:3035"
        ) from None
    if not crs.is_projected or crs.axis_info[0].unit_name != "metre":
        message = (
            f"{option} {name!r}: must be a projected CRS in metres, such as EPSG:3035 or EPSG:6933"
        )
        raise InvalidInputError(message)
    code = crs.to_epsg()
    if code is None:
        raise InvalidInputError(
            f"{option} {name!r}: has no EPSG code; give one that has, such as EPSG:3035"
        )
    return f"EPSG:{code}"


def _check_use(crs: str, area: Area, option: str) -> None:
    use = CRS.from_user_input(crs).area_of_use
    if use is None:
        return
    made_for = BBox(use.west, use.south, use.east, use.north).widened(BEYOND_USE, BEYOND_USE)
    fit = shapely.union_all([shapely.box(*part) for part in made_for.split()])
    if shapely.difference(area.polygon, fit).area > 0:
        raise InvalidInputError(
            f"{option} {crs}: is made for {use.name}, and the area reaches more than {BEYOND_USE} "
            "degrees beyond; name a CRS of its place, or auto"
        )


def _grid(crs: str, ground: BaseGeometry, tile_px: int) -> Grid:
    projected = _projected(ground, crs)
    left, bottom, right, top = projected.bounds
    left, top = _snap(left, math.floor), _snap(top, math.ceil)
    right, bottom = _snap(right, math.ceil), _snap(bottom, math.floor)
    shape = ((top - bottom) // GSD, (right - left) // GSD)
    grid = Grid(crs=crs, origin=(left, top), shape=shape, tile_px=tile_px)
    return grid.replace(kept=_touched(grid, projected))


def _projected(ground: BaseGeometry, crs: str) -> BaseGeometry:
    west, south, east, north = ground.bounds
    fine = shapely.segmentize(ground, max(east - west, north - south) / _PIECES)
    to_crs = transformer(DEGREES, crs)

    def carried(degrees: np.ndarray) -> np.ndarray:
        return np.stack(to_crs.transform(*degrees.T), axis=1)

    return shapely.make_valid(shapely.transform(fine, carried))


def _touched(grid: Grid, ground: BaseGeometry) -> tuple[tuple[int, int], ...] | None:
    """Return the tiles that touch the ground; None if all do."""
    cells = np.array(grid.cells)
    side = grid.tile_px * GSD
    left, top = grid.origin[0] + side * cells[:, 1], grid.origin[1] - side * cells[:, 0]
    boxes = shapely.box(left, top - side, left + side, top)
    shapely.prepare(ground)
    is_touched = shapely.intersects(ground, boxes)
    if is_touched.all():
        return None
    return tuple((int(row), int(column)) for row, column in cells[is_touched])


def _snap(value: float, rounding: Callable[[float], int]) -> int:
    # A corner within a millimetre of the lattice is on it: degrees do not carry metres exactly.
    return rounding(round(float(value) / SNAP, 5)) * SNAP
