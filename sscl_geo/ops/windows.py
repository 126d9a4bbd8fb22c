"""Inference windows on a global lattice, and how overlapping windows blend.

A window's place depends on the CRS's pixel lattice alone, so every pixel is seen by the same
windows whatever the tile size, the order, or the number of workers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Window


class Lattice(NamedTuple):
    """Square windows of `size` pixels, each `halo` pixels larger on every side than its core.

    Neighbouring windows share `2 * halo` pixels, over which they blend.
    """

    size: int
    halo: int

    @property
    def stride(self) -> int:
        """Distance between neighbouring windows in pixels."""
        return self.size - 2 * self.halo

    def covering(self, window: Window, origin: tuple[int, int]) -> tuple[Window, ...]:
        """Return every lattice window that reaches into `window`, row by row.

        Args:
            window: Pixels of a grid.
            origin: Row and column of the grid's first pixel on the CRS's lattice.

        The windows are given in the grid's pixels; they may start before it or end after it.
        """
        return tuple(
            Window(y - origin[0], x - origin[1], self.size, self.size)
            for y in self._starts(window.y + origin[0], window.height)
            for x in self._starts(window.x + origin[1], window.width)
        )

    def _starts(self, first: int, length: int) -> range:
        # Window k starts at k * stride - halo.
        lowest = (first + self.halo - self.size) // self.stride + 1
        highest = (first + length - 1 + self.halo) // self.stride
        return range(
            lowest * self.stride - self.halo, highest * self.stride - self.halo + 1, self.stride
        )


def checked_lattice(size: int, halo: int) -> Lattice:
    """Return the lattice if its windows overlap only with their neighbours.

    Raises:
        InvalidInputError: The size or halo is odd, or two halos leave less than half a window.
    """
    if size % 2 or halo % 2 or halo < 0 or size < 4 * halo or size < 2:  # noqa: PLR2004
        raise InvalidInputError(
            f"window {size} px with halo {halo} px: both must be even, and the window at "
            "least four halos wide"
        )
    return Lattice(size, halo)


def blend_weights(lattice: Lattice) -> Float32[np.ndarray, "size size"]:
    """Return the weight of each pixel of a window: a ramp over the overlap, 1 in the core.

    The weights of all windows that see a pixel add up to 1.
    """
    overlap = 2 * lattice.halo
    ramp = (np.arange(overlap) + 0.5) / max(overlap, 1)
    side = np.concatenate([ramp, np.ones(lattice.size - 2 * overlap), ramp[::-1]])
    return np.outer(side, side).astype(np.float32)
