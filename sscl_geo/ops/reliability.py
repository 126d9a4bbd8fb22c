"""Whether a map is as right as it is sure."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped, UInt8

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
        error: Expected calibration error.
    """

    bins: tuple[Bin, ...]
    error: float


def counted(
    levels: UInt8[np.ndarray, " pixel"], is_right: Bool[np.ndarray, " pixel"]
) -> Int64[np.ndarray, "2 level"]:
    """Return the number of pixels and of right ones at each of 256 levels of confidence."""
    every = np.bincount(levels, minlength=256)
    return np.stack([every, np.bincount(levels[is_right], minlength=256)]).astype(np.int64)


def binned(
    confidence: Float[np.ndarray, " pixel"],
    pixels: Shaped[np.ndarray, " pixel"],
    right: Shaped[np.ndarray, " pixel"],
) -> Float64[np.ndarray, "3 bin"]:
    """Return sums over bins of equal width: of pixels, of their confidence, and of right ones.

    A confidence on the border of two bins belongs to the upper; certainty is in the last.

    Args:
        confidence: Confidences from 0 to 1.
        pixels: How many pixels have each.
        right: How many of these are right.
    """
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    weights = (pixels, pixels * confidence, right)
    # Of no pixel at all, numpy counts in whole numbers.
    return np.stack([np.bincount(place, weight, BINS) for weight in weights]).astype(np.float64)


def calibration_error(sums: Float64[np.ndarray, "3 bin"]) -> float:
    """Return the expected calibration error of what `binned` returns, or of sums of it.

    It is the mean gap of confidence and accuracy over pixels (Guo et al. 2017, arXiv 1706.04599).
    """
    pixels, confidence, right = sums
    return float(np.abs(confidence - right).sum() / pixels.sum())


def reliability(counts: Int64[np.ndarray, "2 level"], full: int) -> Reliability:
    """Return the diagram of counted pixels.

    Args:
        counts: Sums of what `counted` returns, at least one pixel.
        full: The level of certainty.
    """
    sums = binned(np.arange(counts.shape[1]) / full, *counts)
    bins = tuple(
        Bin(confidence / pixels, right / pixels, int(pixels))
        for pixels, confidence, right in sums.T.tolist()
        if pixels
    )
    return Reliability(bins, calibration_error(sums))
