"""Which tiles own a place."""

from collections.abc import Sequence

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import GSD, Grid, Tile
from sscl_geo.geo.ground import DEGREES, transformer


def owners(grids: Sequence[Grid], longitude: float, latitude: float) -> list[Tile]:
    """Return the tiles that own a place; grids of one area own each of its places exactly once."""
    return [tile for grid in grids for tile in _owner(grid, longitude, latitude)]


def _owner(grid: Grid, longitude: float, latitude: float) -> list[Tile]:
    if grid.owns is not None and not _holds(grid.owns, longitude, latitude):
        return []
    x, y = transformer(DEGREES, grid.crs).transform(longitude, latitude)
    side = grid.tile_px * GSD
    row, column = (grid.origin[1] - y) // side, (x - grid.origin[0]) // side
    tile = Tile(zone=grid.zone, row=int(row), column=int(column))
    return [tile] if tile in grid.tiles else []


def _holds(box: BBox, longitude: float, latitude: float) -> bool:
    return box.west <= longitude < box.east and box.south <= latitude < box.north
