"""The cells in which a plane is warped, and the pixels of a file that each needs."""

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import rasterio
import rasterio.warp
from affine import Affine
from jaxtyping import Float64

from sscl_geo.geo.grid import Block, Window

CELL_METRES = 2560
"""Side of a cell: 256 px of 10 m."""

_PHASE_DIGITS = 6


class Cell(NamedTuple):
    """A cell: its ground, its part of the block, that within the cell, and the source's pixels."""

    ground: Block
    target: tuple[slice, slice]
    inner: tuple[slice, slice]
    source: Window


class _Axis(NamedTuple):
    """The pixels of a block along one axis, on the global lattice of pixels of their size.

    Attributes:
        first: Index of the block's first pixel.
        phase: How far the block's pixels lie off the lattice, in pixels, 0 to 1.
        length: Number of pixels.
        cell_px: Pixels of a cell.
    """

    first: int
    phase: float
    length: int
    cell_px: int

    @property
    def nodes(self) -> range:
        """First pixels of the cells that hold the block, and the first one after them."""
        start = self.first // self.cell_px * self.cell_px
        return range(start, self.first + self.length + self.cell_px, self.cell_px)

    def overlap(self, cell: int) -> tuple[slice, slice]:
        """Return the pixels that a cell and the block share: within the block, within the cell."""
        start = max(cell, self.first)
        stop = min(cell + self.cell_px, self.first + self.length)
        return slice(start - self.first, stop - self.first), slice(start - cell, stop - cell)


def cells_of(dataset: rasterio.DatasetReader, block: Block, margin: int) -> Iterator[Cell]:
    """Yield the cells, from the origin of the block's CRS on, that hold a block and meet a file.

    A cell, and its window of the file, depend on the pixels' size and lattice, not on the block.

    Args:
        dataset: The file.
        block: The block.
        margin: Pixels of the file around a cell that it needs.
    """
    gsd = block.transform.a
    rows = _axis(-block.transform.f / gsd, block.height, gsd)
    columns = _axis(block.transform.c / gsd, block.width, gsd)
    nodes = _nodes(dataset, block, rows, columns)
    for (i, row), (j, column) in product(enumerate(rows.nodes[:-1]), enumerate(columns.nodes[:-1])):
        source = _window(dataset, nodes[:, i : i + 2, j : j + 2].reshape(2, 4), margin)
        if source is not None:
            x, y = (column + columns.phase) * gsd, -(row + rows.phase) * gsd
            ground = Block(block.crs, Affine(gsd, 0, x, 0, -gsd, y), rows.cell_px, columns.cell_px)
            down, across = rows.overlap(row), columns.overlap(column)
            yield Cell(ground, (down[0], across[0]), (down[1], across[1]), source)


def _axis(position: float, length: int, gsd: float) -> _Axis:
    first = math.floor(round(position, _PHASE_DIGITS))
    phase = round(position - first, _PHASE_DIGITS)
    return _Axis(first, phase, length, max(int(CELL_METRES / gsd), 1))


def _nodes(
    dataset: rasterio.DatasetReader, block: Block, rows: _Axis, columns: _Axis
) -> Float64[np.ndarray, "2 row column"]:
    """Return column and row, in the file's pixels, of the corners of the cells."""
    gsd = block.transform.a
    y, x = np.meshgrid(
        -(np.array(rows.nodes) + rows.phase) * gsd,
        (np.array(columns.nodes) + columns.phase) * gsd,
        indexing="ij",
    )
    crs = rasterio.CRS.from_user_input(block.crs)
    there = np.array(rasterio.warp.transform(crs, dataset.crs, x.ravel(), y.ravel()))
    pixel = np.stack(~dataset.transform @ (there[0], there[1]))
    return pixel.reshape(2, *x.shape)


def _window(
    dataset: rasterio.DatasetReader, corners: Float64[np.ndarray, "2 4"], margin: int
) -> Window | None:
    """Return the file's pixels around a cell; None if there is none.

    The edges of a cell bend by less than the margin between its corners.
    """
    if not np.isfinite(corners).all():
        return None
    left, top = (max(math.floor(low) - margin, 0) for low in corners.min(axis=1))
    right, bottom = (math.ceil(high) + margin for high in corners.max(axis=1))
    width, height = min(right, dataset.width) - left, min(bottom, dataset.height) - top
    return Window(top, left, height, width) if width > 0 and height > 0 else None
