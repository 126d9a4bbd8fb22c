"""Selection of the middle of many images at once, by a network of comparators.

Batcher's odd-even merge sort (Batcher 1968, "Sorting networks and their applications", AFIPS 32),
less the comparators that the wanted outputs do not need. A comparator is one minimum and one
maximum of whole images.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt16


class Comparator(NamedTuple):
    """Puts the smaller of two values at place `low` and the larger at `high`, where needed."""

    low: int
    high: int
    keeps_smaller: bool
    keeps_larger: bool


def ranked(
    images: Sequence[UInt16[np.ndarray, "y x"]], ranks: tuple[int, ...]
) -> list[UInt16[np.ndarray, "y x"]]:
    """Return, for each rank from 0, the image of each pixel's value of that rank.

    The images are left as they are; a result may be one of them.
    """
    place = list(images)
    for low, high, keeps_smaller, keeps_larger in selection(len(place), ranks):
        one, other = place[low], place[high]
        if keeps_smaller:
            place[low] = np.minimum(one, other)
        if keeps_larger:
            place[high] = np.maximum(one, other)
    return [place[rank] for rank in ranks]


@cache
def selection(size: int, ranks: tuple[int, ...]) -> tuple[Comparator, ...]:
    """Return the comparators that put the values of these ranks among `size` in place."""
    needed, kept = set(ranks), []
    for low, high in reversed(list(comparators(size))):
        if low in needed or high in needed:
            kept.append(Comparator(low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


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
