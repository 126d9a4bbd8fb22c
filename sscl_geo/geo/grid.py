"""Pixel grids: a CRS, an origin, a size, and the tiles that cut it."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from affine import Affine
from jaxtyping import Bool, Int64
from pydantic import model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox

GSD = 10
"""Ground sampling distance of a grid's finest pixels, in metres."""

SNAP = 60
"""Origins and sizes are multiples of this many metres, so that pixels of 10, 20 and 60 m nest."""

CHUNK_PX = 256
"""Side of a chunk at 10 m; a tile is a whole number of chunks."""

MOST_TILE_PX = 2**16
"""Most pixels along a side of a tile: 655 km, more than any machine holds at once."""


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

    def within(self, other: "Window") -> "Window":
        """Return the same pixels counted from the first of another window."""
        return self._replace(y=self.y - other.y, x=self.x - other.x)

    def grown(self, margin: int) -> "Window":
        """Return the window with a margin of so many pixels on each side."""
        y, x, height, width = self
        return Window(y - margin, x - margin, height + 2 * margin, width + 2 * margin)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.height == 0 or self.width == 0

    def holds(
        self, y: Int64[np.ndarray, "*n"], x: Int64[np.ndarray, "*n"]
    ) -> Bool[np.ndarray, "*n"]:
        """Return which pixels, given by row and column, lie in the window."""
        down, across = y - self.y, x - self.x
        return (down >= 0) & (down < self.height) & (across >= 0) & (across < self.width)

    def intersection(self, other: "Window") -> "Window":
        """Return the pixels that both windows hold; where they share none, an empty window."""
        top, left = max(self.y, other.y), max(self.x, other.x)
        bottom = min(self.y + self.height, other.y + other.height)
        right = min(self.x + self.width, other.x + other.width)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    def union(self, other: "Window") -> "Window":
        """Return the smallest window that holds both."""
        top, left = min(self.y, other.y), min(self.x, other.x)
        bottom = max(self.y + self.height, other.y + other.height)
        right = max(self.x + self.width, other.x + other.width)
        return Window(top, left, bottom - top, right - left)

    def blocks(self, height: int, width: int) -> Iterator["Window"]:
        """Yield its parts of a height and width, row by row; the last ones may be smaller."""
        bottom, right = self.y + self.height, self.x + self.width
        for y in range(self.y, bottom, height):
            for x in range(self.x, right, width):
                yield Window(y, x, min(height, bottom - y), min(width, right - x))

    @classmethod
    def around(cls, y: Int64[np.ndarray, "*n"], x: Int64[np.ndarray, "*n"]) -> "Window":
        """Return the smallest window that holds pixels, given by row and column."""
        top, left = int(y.min()), int(x.min())
        return cls(top, left, int(y.max()) - top + 1, int(x.max()) - left + 1)


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

    @property
    def window(self) -> Window:
        """All its pixels, counted from its first."""
        return Window(0, 0, self.height, self.width)

    def part(self, window: Window) -> "Block":
        """Return the ground of some of its pixels, counted from its first."""
        transform = self.transform @ Affine.translation(window.x, window.y)
        return Block(self.crs, transform, window.height, window.width)


class Grid(Frozen):
    """Pixels of 10 m in one projected CRS, cut into square tiles.

    Attributes:
        crs: Projected CRS in metres, such as `EPSG:32633`.
        origin: Upper-left corner (x, y) in metres, multiples of 60.
        shape: Rows and columns at 10 m, multiples of 6.
        tile_px: Side of a tile at 10 m, a multiple of 256. Tiles at the lower and right edges are
            cut off by the grid.
        kept: Rows and columns of the tiles that touch the area wanted, in order; None keeps all.
        owns: Half-open box in degrees whose ground is this grid's and no other's, where several
            grids overlap; None owns all.
    """

    crs: str
    origin: tuple[int, int]
    shape: tuple[int, int]
    tile_px: int = 2048
    kept: tuple[tuple[int, int], ...] | None = None
    owns: BBox | None = None

    @model_validator(mode="after")
    def _check(self) -> "Grid":
        if any(value % SNAP for value in self.origin) or any(n * GSD % SNAP for n in self.shape):
            raise InvalidInputError(
                f"grid origin {self.origin} and shape {self.shape} must be whole multiples "
                f"of {SNAP} m"
            )
        if not CHUNK_PX <= self.tile_px <= MOST_TILE_PX or self.tile_px % CHUNK_PX:
            raise InvalidInputError(
                f"--tile-px {self.tile_px}: must be a multiple of {CHUNK_PX}, so that every "
                f"shard holds whole chunks, and at most {MOST_TILE_PX}"
            )
        return self

    @property
    def zone(self) -> str:
        """The name of the grid's group in a store, such as `epsg32633`."""
        return self.crs.lower().replace(":", "")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles kept, row by row."""
        kept = self.cells if self.kept is None else self.kept
        return tuple(Tile(zone=self.zone, row=row, column=column) for row, column in kept)

    @property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """Row and column of every tile of the rectangle, row by row."""
        rows, columns = (math.ceil(size / self.tile_px) for size in self.shape)
        return tuple((row, column) for row in range(rows) for column in range(columns))

    def retiled(self, tile_px: int) -> "Grid":
        """Return the same pixels in tiles of another size, keeping those over a kept tile.

        Raises:
            InvalidInputError: The size is not a multiple of 256, or too large.
        """
        resized = self.replace(tile_px=tile_px)
        if self.kept is None or tile_px == self.tile_px:
            return resized
        covered = {
            (row, column)
            for tile in self.tiles
            for y, x, height, width in [self.window(tile)]
            for row in range(y // tile_px, (y + height - 1) // tile_px + 1)
            for column in range(x // tile_px, (x + width - 1) // tile_px + 1)
        }
        return resized.replace(kept=tuple(sorted(covered)))

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
