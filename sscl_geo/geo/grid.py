"""Pixel grids: a CRS, an origin, a size, and the tiles that cut it."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from affine import Affine
from jaxtyping import Bool
from pydantic import model_validator
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox

GSD = 10
"""Ground sampling distance of a grid's finest pixels, in metres."""

SNAP = 60
"""Origins and sizes are multiples of this many metres, so that pixels of 10, 20 and 60 m nest."""

CHUNK_PX = 256
"""Side of a chunk at 10 m; a tile is a whole number of chunks."""

# Points per side of a rectangle that is carried to another CRS: its edges bend. The box of a
# continent bends by less than a metre between so many points, that of a tile by millimetres.
_BOX_POINTS = 2001
_TILE_POINTS = 21


class Window(NamedTuple):
    """A rectangle of pixels: first row and column, then the number of rows and columns."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as `(rows, columns)` for indexing an array."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def at(self, gsd: int) -> "Window":
        """Return the same ground, given at 10 m, in pixels of `gsd` metres (a multiple of 10)."""
        ratio = gsd // GSD
        return Window(*(value // ratio for value in self))


class Tile(Frozen):
    """A cell of a grid: the unit of work and, as a Zarr shard or chunk, of storage."""

    zone: str
    row: int
    column: int

    @property
    def key(self) -> str:
        """The tile's name, such as `epsg32633/3/12`."""
        return f"{self.zone}/{self.row}/{self.column}"


class Block(NamedTuple):
    """A rectangle of pixels on the ground.

    Attributes:
        crs: Coordinate reference system, such as `EPSG:32633`.
        transform: From pixel (column, row) to the CRS's metres.
        height: Number of rows.
        width: Number of columns.
    """

    crs: str
    transform: Affine
    height: int
    width: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in the CRS's metres."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return left, bottom, right, top


class Grid(Frozen):
    """Pixels of 10 m in one projected CRS, cut into square tiles.

    Attributes:
        crs: Projected CRS in metres, such as `EPSG:32633`.
        origin: Upper-left corner (x, y) in metres, multiples of 60.
        shape: Rows and columns at 10 m, multiples of 6.
        tile_px: Side of a tile at 10 m, a multiple of 256. Tiles at the lower and right edges are
            cut off by the grid.
    """

    crs: str
    origin: tuple[int, int]
    shape: tuple[int, int]
    tile_px: int = 2048

    @model_validator(mode="after")
    def _check(self) -> "Grid":
        if any(value % SNAP for value in self.origin) or any(n * GSD % SNAP for n in self.shape):
            raise InvalidInputError(
                f"grid origin {self.origin} and shape {self.shape} must be whole multiples "
                f"of {SNAP} m"
            )
        if self.tile_px < CHUNK_PX or self.tile_px % CHUNK_PX:
            raise InvalidInputError(
                f"--tile-px {self.tile_px}: must be a multiple of {CHUNK_PX}, so that every "
                "shard holds whole chunks"
            )
        return self

    @property
    def zone(self) -> str:
        """The name of the grid's group in a store, such as `epsg32633`."""
        return self.crs.lower().replace(":", "")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles, row by row."""
        rows, columns = (math.ceil(size / self.tile_px) for size in self.shape)
        return tuple(
            Tile(zone=self.zone, row=row, column=column)
            for row in range(rows)
            for column in range(columns)
        )

    @property
    def lattice_origin(self) -> tuple[int, int]:
        """Row and column of the first pixel on the CRS's global lattice of 10 m pixels."""
        return -self.origin[1] // GSD, self.origin[0] // GSD

    def window(self, tile: Tile) -> Window:
        """Return a tile's pixels at 10 m, cut off at the grid's edge."""
        y, x = tile.row * self.tile_px, tile.column * self.tile_px
        return Window(
            y, x, min(self.tile_px, self.shape[0] - y), min(self.tile_px, self.shape[1] - x)
        )

    def block(self, window: Window, gsd: int = GSD) -> Block:
        """Return the ground of a window given in pixels of `gsd` metres."""
        corner = Affine.translation(
            self.origin[0] + window.x * gsd, self.origin[1] - window.y * gsd
        )
        return Block(self.crs, corner @ Affine.scale(gsd, -gsd), window.height, window.width)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Left, bottom, right and top in metres."""
        left, top = self.origin
        return left, top - self.shape[0] * GSD, left + self.shape[1] * GSD, top


def tile_bbox(grid: Grid, tile: Tile) -> BBox:
    """Return a box in degrees that holds the tile's ground."""
    left, bottom, right, top = grid.block(grid.window(tile)).bounds
    x, y = _rectangle_edge(left, bottom, right, top, _TILE_POINTS)
    longitude, latitude = _transformer(grid.crs, "EPSG:4326").transform(x, y)
    west, east = float(longitude.min()), float(longitude.max())
    if east - west > 180:  # noqa: PLR2004 - the box crosses the antimeridian
        west, east = float(longitude[longitude > 0].min()), float(longitude[longitude < 0].max())
    return BBox(west, float(latitude.min()), east, float(latitude.max()))


def grids_of(bbox: BBox, choice: str, tile_px: int) -> tuple[Grid, ...]:
    """Return the grids that cover a box.

    Args:
        bbox: The area.
        choice: `auto` for one grid in each UTM zone that the box touches, or one projected CRS in
            metres, such as `EPSG:3035`.
        tile_px: Side of a tile at 10 m.

    Raises:
        InvalidInputError: The CRS is unknown or not in metres, or UTM does not cover the latitude.
    """
    if choice != "auto":
        return (_grid(_metric(choice), bbox.split(), tile_px),)
    return tuple(_grid(crs, (piece,), tile_px) for crs, piece in _zones(bbox))


def _zones(bbox: BBox) -> Iterator[tuple[str, BBox]]:
    if bbox.south < -80 or bbox.north > 84:  # noqa: PLR2004 - the limits of UTM
        raise InvalidInputError(
            "--grid auto: UTM covers latitudes -80..84, the box reaches "
            f"{bbox.south:g}..{bbox.north:g}; name a polar CRS in metres, such as --grid "
            "EPSG:3031 or EPSG:3413"
        )
    hemisphere = 326 if (bbox.south + bbox.north) / 2 >= 0 else 327
    for part in bbox.split():
        first, last = int((part.west + 180) // 6) + 1, math.ceil((part.east + 180) / 6)
        for number in range(first, last + 1):
            edge = 6 * number - 186
            yield (
                f"EPSG:{hemisphere}{number:02d}",
                part._replace(west=max(part.west, edge), east=min(part.east, edge + 6)),
            )


def _metric(name: str) -> str:
    try:
        crs = CRS.from_user_input(name)
    except CRSError:
        raise InvalidInputError(
            f"--grid {name!r}: unknown; give auto or a projected CRS such as EPSG:3035"
        ) from None
    if not crs.is_projected or crs.axis_info[0].unit_name != "metre":
        message = (
            f"--grid {name!r}: must be a projected CRS in metres, such as EPSG:3035 or EPSG:6933"
        )
        raise InvalidInputError(message)
    code = crs.to_epsg()
    if code is None:
        raise InvalidInputError(
            f"--grid {name!r}: has no EPSG code; give one that has, such as EPSG:3035"
        )
    return f"EPSG:{code}"


def _grid(crs: str, parts: tuple[BBox, ...], tile_px: int) -> Grid:
    edges = [_rectangle_edge(p.west, p.south, p.east, p.north, _BOX_POINTS) for p in parts]
    longitude, latitude = (np.concatenate(axis) for axis in zip(*edges, strict=True))
    x, y = _transformer("EPSG:4326", crs).transform(longitude, latitude)
    left, top = _snap(x.min(), math.floor), _snap(y.max(), math.ceil)
    right, bottom = _snap(x.max(), math.ceil), _snap(y.min(), math.floor)
    return Grid(
        crs=crs,
        origin=(left, top),
        shape=((top - bottom) // GSD, (right - left) // GSD),
        tile_px=tile_px,
    )


def _snap(value: float, rounding: Callable[[float], int]) -> int:
    # A corner within a millimetre of the lattice is on it: degrees do not carry metres exactly.
    return rounding(round(float(value) / SNAP, 5)) * SNAP


def _rectangle_edge(
    left: float, bottom: float, right: float, top: float, points: int
) -> tuple[np.ndarray, np.ndarray]:
    across, up = np.linspace(left, right, points), np.linspace(bottom, top, points)
    x = np.concatenate([across, across, np.full_like(up, left), np.full_like(up, right)])
    y = np.concatenate([np.full_like(across, bottom), np.full_like(across, top), up, up])
    return x, y


def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def inside_bbox(block: Block, bbox: BBox) -> Bool[np.ndarray, "y x"]:
    """Where a block's pixel centres lie in a box in degrees."""
    x = block.transform.c + block.transform.a * (np.arange(block.width) + 0.5)
    y = block.transform.f + block.transform.e * (np.arange(block.height) + 0.5)
    longitude, latitude = _transformer(block.crs, "EPSG:4326").transform(*np.meshgrid(x, y))
    inside = np.zeros((block.height, block.width), np.bool_)
    for part in bbox.split():
        across = (longitude >= part.west) & (longitude < part.east)
        inside |= across & (latitude >= part.south) & (latitude < part.north)
    return inside
