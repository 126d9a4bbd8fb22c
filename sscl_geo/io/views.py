"""What is looked at: layers of maps and cubes under any places, at any scale."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from sscl_geo.geo.bbox import BBox, hull
from sscl_geo.geo.graticule import Graticule
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import DEGREES, block_bbox, located
from sscl_geo.io.layout import shape_of
from sscl_geo.io.store import Store

MARGIN_DEGREES = 0.05
"""The edges of large grids bend by less than this between the points that are carried over."""


class View(NamedTuple):
    """A layer that is looked at: an array in each zone, perhaps at several levels.

    Attributes:
        store: The store that holds it.
        grids: Its grids, one a zone.
        levels: Metres of the pixels of each level, from the finest, by zone.
        name: Name of its arrays.
        nodata: Their value where nothing is known.
        lead: Index on the axes before the bands, such as (time,).
        bands: Positions on the axis before y and x, if there is one.
    """

    store: Store
    grids: tuple[Grid, ...]
    levels: Mapping[str, tuple[int, ...]]
    name: str
    nodata: int
    lead: tuple[int, ...] = ()
    bands: tuple[int, ...] | None = None

    def path(self, zone: str, gsd: int) -> str:
        """Return the path of one of its arrays."""
        return f"{zone}/r{gsd}m/{self.name}"

    def level(self, zone: str, gsd: float) -> int:
        """Return the coarsest level whose pixels are not larger than this, or the finest."""
        return max((level for level in self.levels[zone] if level <= gsd), default=self.finest)

    @property
    def finest(self) -> int:
        """Metres of the finest pixels."""
        return min(min(levels) for levels in self.levels.values())

    def read(self, zone: str, gsd: int, window: Window) -> Shaped[np.ndarray, "..."]:
        """Return `(y, x)`, or `(band, y, x)`, of a window in pixels of a level."""
        found = self.store.read(self.path(zone, gsd), self.lead, window)
        return found if self.bands is None else found[list(self.bands)]

    def under(self, places: Graticule, gsd: float) -> Shaped[np.ndarray, "..."]:
        """Return the nearest pixel of each place, `(..., y, x)`; nodata where there is none.

        Where zones overlap, each place is looked up in the zone that owns it.

        Args:
            places: The places.
            gsd: Metres on the ground from one place to the next; no finer level is read.
        """
        array = self.store.array(self.path(self.grids[0].zone, self.finest))
        bands = array.shape[len(self.lead) : -2] if self.bands is None else (len(self.bands),)
        shape = (*bands, len(places.latitudes), len(places.longitudes))
        out = np.full(shape, self.nodata, array.dtype)
        for grid in self.grids:
            self._add(out, grid, places, self.level(grid.zone, gsd))
        return out

    def _add(self, out: Shaped[np.ndarray, "..."], grid: Grid, places: Graticule, gsd: int) -> None:
        rows, columns = places.inside(ground_of(grid))
        if not rows.any() or not columns.any():
            return
        near = Graticule(places.longitudes[columns], places.latitudes[rows])
        found = _located(grid, near, gsd)
        if not found.is_inside.any():
            return
        y, x = found.y[found.is_inside], found.x[found.is_inside]
        window = Window.around(y, x)
        values = self.read(grid.zone, gsd, window)[..., y - window.y, x - window.x]
        mine = np.zeros(out.shape[-2:], np.bool_)
        mine[np.ix_(rows, columns)] = found.is_inside
        out[..., mine] = values


class _Located(NamedTuple):
    y: Int64[np.ndarray, "y x"]
    x: Int64[np.ndarray, "y x"]
    is_inside: Bool[np.ndarray, "y x"]


def ground_of(grid: Grid) -> BBox:
    """Return a box in degrees that holds all ground that a grid owns."""
    box = block_bbox(grid.block(Window(0, 0, *grid.shape)))
    return box.widened(MARGIN_DEGREES, MARGIN_DEGREES)


def extent(grids: tuple[Grid, ...]) -> BBox:
    """Return a box in degrees around the tiles of grids."""
    return hull([_kept_bbox(grid) for grid in grids if grid.kept != ()])


def _kept_bbox(grid: Grid) -> BBox:
    cells = grid.cells if grid.kept is None else grid.kept
    rows, columns = ({cell[axis] for cell in cells} for axis in (0, 1))
    top, left = min(rows) * grid.tile_px, min(columns) * grid.tile_px
    bottom = min((max(rows) + 1) * grid.tile_px, grid.shape[0])
    right = min((max(columns) + 1) * grid.tile_px, grid.shape[1])
    return block_bbox(grid.block(Window(top, left, bottom - top, right - left)))


def _located(grid: Grid, places: Graticule, gsd: int) -> _Located:
    """Return row and column of the pixel under each place, and whether the grid owns it."""
    longitude, latitude = np.meshgrid(places.longitudes, places.latitudes)
    y, x = located(grid, gsd, DEGREES, longitude, latitude)
    is_inside = Window(0, 0, *shape_of(grid, gsd)).holds(y, x)
    if grid.owns is not None:
        rows, columns = places.inside(grid.owns)
        is_inside &= rows[:, None] & columns
    return _Located(y, x, is_inside)
