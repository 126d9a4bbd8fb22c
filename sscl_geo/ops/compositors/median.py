"""Median over time of integers with nodata, by a sorting network.

Batcher's odd-even merge sort (Batcher 1968, "Sorting networks and their applications", AFIPS 32)
works on whole images: each comparator is one minimum and one maximum, in place, so a stack needs no
second copy and no float.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt16

NODATA = 0
_LAST = np.uint16(65535)


def composite(stack: UInt16[np.ndarray, "time y x"]) -> UInt16[np.ndarray, "y x"]:
    """Return the median of each pixel's observations; 0 where there is none.

    Args:
        stack: Observations; 0 is nodata and 65535 does not occur. It is overwritten.

    Of an even number of observations the median is the mean of the middle two, rounded half up:
    `floor(numpy.nanmedian + 0.5)`.
    """
    count = np.count_nonzero(stack, axis=0)
    stack[stack == NODATA] = _LAST
    for low, high in comparators(len(stack)):
        smaller = np.minimum(stack[low], stack[high])
        np.maximum(stack[low], stack[high], out=stack[high])
        stack[low] = smaller
    lower = _at(stack, np.maximum(count - 1, 0) // 2).astype(np.uint32)
    upper = _at(stack, np.minimum(count // 2, len(stack) - 1)).astype(np.uint32)
    return np.where(count == 0, NODATA, (lower + upper + 1) // 2).astype(np.uint16)


def comparators(size: int) -> Iterator[tuple[int, int]]:
    """Yield the (low, high) pairs of a network that sorts `size` values ascending."""
    width = 1
    while width < size:
        gap = width
        while gap >= 1:
            for start in range(gap % width, size - gap, 2 * gap):
                for offset in range(min(gap, size - start - gap)):
                    low, high = start + offset, start + offset + gap
                    if low // (2 * width) == high // (2 * width):
                        yield low, high
            gap //= 2
        width *= 2


def _at(stack: UInt16[np.ndarray, "time y x"], index: np.ndarray) -> UInt16[np.ndarray, "y x"]:
    return np.asarray(np.take_along_axis(stack, index[np.newaxis], axis=0)[0])
