"""Disks that grow and shrink masks.

Beyond its edge a mask holds nothing that grows into it and nothing that shrinks it: pixels outside
count as unset for `dilated` and as set for `eroded`. The pair is then an adjunction, so that
`opened` only removes pixels, and twice is once (Heijmans & Ronse 1990, CVGIP 50).
"""

import math

import numpy as np
from jaxtyping import Bool


def dilated(mask: Bool[np.ndarray, "y x"], radius: int) -> Bool[np.ndarray, "y x"]:
    """Return the mask grown by a disk: set within `radius` pixels of a set pixel, inclusive."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    run = padded[:, radius : radius + width].copy()
    grown = np.zeros_like(mask)
    for half in range(radius + 1):
        run |= padded[:, radius - half :][:, :width]
        run |= padded[:, radius + half :][:, :width]
        for dy in _rows(radius, half):
            grown |= run[radius - dy :][:height]
            grown |= run[radius + dy :][:height]
    return grown


def eroded(mask: Bool[np.ndarray, "y x"], radius: int) -> Bool[np.ndarray, "y x"]:
    """Return the mask shrunk by a disk: set where no pixel within `radius` is unset."""
    return ~dilated(~mask, radius)


def opened(mask: Bool[np.ndarray, "y x"], radius: int) -> Bool[np.ndarray, "y x"]:
    """Return the part of the mask that disks of `radius` fill; specks smaller than one are gone."""
    return dilated(eroded(mask, radius), radius)


def _rows(radius: int, half: int) -> list[int]:
    """Distances from a disk's centre of its rows that reach `half` pixels to each side."""
    return [dy for dy in range(radius + 1) if math.isqrt(radius**2 - dy**2) == half]
