"""Whether a map is as right as it is sure."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

BINS = 15
"""Of the expected calibration error, wherever it is told."""


class Bin(NamedTuple):
    """Pixels of like confidence: their mean confidence, the share that is right, their number."""

    confidence: float
    accuracy: float
    pixels: int


class Reliability(NamedTuple):
    """A reliability diagram.

    Attributes:
        bins: Bins of equal width, those without a pixel left out.
        error: Expected calibration error: the mean gap of confidence and accuracy over pixels
            (Guo et al. 2017, arXiv 1706.04599).
    """

    bins: tuple[Bin, ...]
    error: float


def counted(
    levels: UInt8[np.ndarray, " pixel"], is_right: Bool[np.ndarray, " pixel"]
) -> Int64[np.ndarray, "2 level"]:
    """Return the number of pixels and of right ones at each of 256 levels of confidence."""
    every = np.bincount(levels, minlength=256)
    return np.stack([every, np.bincount(levels[is_right], minlength=256)]).astype(np.int64)


def reliability(counts: Int64[np.ndarray, "2 level"], full: int) -> Reliability:
    """Return the diagram of counted pixels.

    Args:
        counts: Sums of what `counted` returns, at least one pixel.
        full: The level of certainty.
    """
    levels = np.arange(counts.shape[1])
    # A level on the border of two bins belongs to the lower, as certainty does to the last.
    numbers = np.clip(np.ceil(levels * BINS / full).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in range(BINS):
        pixels, right = counts[:, numbers == number]
        if pixels.sum():
            mean = float((pixels * levels[numbers == number]).sum() / pixels.sum() / full)
            bins.append(Bin(mean, float(right.sum() / pixels.sum()), int(pixels.sum())))
    total = sum(one.pixels for one in bins)
    gaps = sum(one.pixels * abs(one.confidence - one.accuracy) for one in bins)
    return Reliability(tuple(bins), gaps / total)
