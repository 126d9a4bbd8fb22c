"""How large pixels are on the ground."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from pyproj import Geod

from sscl_geo.geo.grid import CHUNK_PX, GSD, Grid, Window
from sscl_geo.geo.ground import DEGREES, transformer

EARTH = Geod(ellps="WGS84")
METRES_PER_DEGREE = 111_320.0
"""Of longitude on the equator; of latitude within a percent."""

SQUARE_METRES = 10_000.0
"""Square metres of a hectare."""

# Points per side of a cell: between them its edges bend by less than a millimetre.
_CELL_POINTS = 9


def pixel_hectares(grid: Grid, window: Window) -> Float64[np.ndarray, "y x"]:
    """Return the area that each pixel of a window has on the WGS 84 ellipsoid, in hectares.

    No projection that keeps shapes keeps areas: a pixel of 10 m in UTM covers 100.08 m2 on the
    central meridian and 99.8 m2 at a zone's edge on the equator, in Web Mercator a quarter of that
    at 60 degrees north. So nothing is warped to an equal-area CRS, which would resample classes.
    Instead, the ground of each cell of 256 x 256 pixels, counted from the grid's origin, is
    measured as a polygon of geodesics (Karney 2013, doi 10.1007/s00190-012-0578-z), and its pixels
    share it evenly, which is exact to 1e-5 in UTM. The cells belong to the grid, so tiles of any
    size add up to the same areas.
    """
    rows, columns = _cells(window.y, window.height), _cells(window.x, window.width)
    distinct = {(row, column) for row in set(rows.tolist()) for column in set(columns.tolist())}
    table = {cell: _cell_hectares(grid.crs, grid.origin, *cell) for cell in distinct}
    first = (int(rows[0]), int(columns[0]))
    shape = int(rows[-1]) - first[0] + 1, int(columns[-1]) - first[1] + 1
    dense = np.empty(shape, np.float64)
    for (row, column), hectares in table.items():
        dense[row - first[0], column - first[1]] = hectares
    return np.asarray(dense[np.ix_(rows - first[0], columns - first[1])])


def _cells(start: int, length: int) -> np.ndarray:
    return np.arange(start, start + length) // CHUNK_PX


@lru_cache(4096)
def _cell_hectares(crs: str, origin: tuple[int, int], row: int, column: int) -> float:
    """Return the area of one pixel of a cell."""
    side = CHUNK_PX * GSD
    left, top = origin[0] + column * side, origin[1] - row * side
    along = np.linspace(0, side, _CELL_POINTS)[:-1]
    x = left + np.concatenate([along, np.full_like(along, side), side - along, 0 * along])
    y = top - np.concatenate([0 * along, along, np.full_like(along, side), side - along])
    area, _ = EARTH.polygon_area_perimeter(*transformer(crs, DEGREES).transform(x, y))
    return abs(float(area)) / SQUARE_METRES / CHUNK_PX**2


def band_hectares(
    latitudes: Float64[np.ndarray, " edges"], degrees: float
) -> Float64[np.ndarray, " bands"]:
    """Return the area between each parallel and the next, over so many degrees of longitude.

    On the WGS 84 ellipsoid (Snyder 1987, USGS Professional Paper 1395, equation 3-12).
    """
    e, sine = float(np.sqrt(EARTH.es)), np.sin(np.radians(latitudes))
    log = np.log((1 - e * sine) / (1 + e * sine)) / (2 * e)
    q = (1 - e**2) * (sine / (1 - (e * sine) ** 2) - log)
    return np.asarray(EARTH.a**2 / 2 * np.radians(degrees) * np.abs(np.diff(q)) / SQUARE_METRES)
