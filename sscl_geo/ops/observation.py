"""Observations of the same pixels at several times, and what they are reduced to."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int16, Shaped, UInt16

from sscl_geo.geo.grid import Window

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
    for window in Window(0, 0, height, width).blocks(rows, columns):
        yield window.slices


def is_observed(
    arrays: Mapping[str, Shaped[np.ndarray, "_ _ _"]],
    nodata: Mapping[str, int],
    shape: tuple[int, int],
) -> Bool[np.ndarray, "y x"]:
    """Return where any band of arrays was observed, on pixels as fine as `shape`.

    Args:
        arrays: Stored numbers `(band, y, x)` of each array, at its own resolution.
        nodata: Stored value of no observation of each.
        shape: Rows and columns of the result, whole multiples of each array's.
    """
    seen = np.zeros(shape, np.bool_)
    for name, bands in arrays.items():
        factor = shape[0] // bands.shape[1]
        for band in bands:
            seen |= (band != nodata[name]).repeat(factor, 0).repeat(factor, 1)
            if seen.all():
                return seen
    return seen
