"""Observations of the same pixels at several times, and what they are reduced to."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, UInt16

NODATA = 0
"""Canonical DN of no observation."""


class Composite(NamedTuple):
    """One value per pixel and band.

    Attributes:
        pixels: Canonical DN; 0 where nothing was observed.
        chosen: For methods that take a pixel from one observation: its place in time, -1 where
            there is none. None for methods that mix observations.
    """

    pixels: UInt16[np.ndarray, "band y x"]
    chosen: Int16[np.ndarray, "y x"] | None = None


def strips(height: int, width: int, most_px: int) -> Iterator[tuple[slice, slice]]:
    """Yield windows of at most `most_px` pixels, of whole rows if they fit, that cover an image."""
    columns = max(1, min(width, most_px))
    rows = max(1, most_px // columns)
    for y in range(0, height, rows):
        for x in range(0, width, columns):
            yield slice(y, min(y + rows, height)), slice(x, min(x + columns, width))
