"""Mean over time of each band."""

import numpy as np
from jaxtyping import UInt8, UInt16

from sscl_geo.ops.observation import NODATA, Composite, strips

JOINT = False
BY_QUALITY = False

MOST_PX = 2**14
"""Pixels of a strip; its sums stay in a core's cache."""


def composite(
    stack: UInt16[np.ndarray, "time band y x"], weights: UInt8[np.ndarray, "time y x"]
) -> Composite:
    """Return the mean of each pixel's observations in each band, rounded half up.

    Args:
        stack: Canonical DN, 0 where there is no observation; at most 2^15 times.
        weights: 0 where the ground was hidden; other values count alike.
    """
    pixels = np.empty(stack.shape[1:], np.uint16)
    for strip in strips(stack.shape[2], stack.shape[3], MOST_PX):
        for band in range(len(pixels)):
            pixels[band, *strip] = _mean(stack[:, band, *strip], weights[:, *strip])
    return Composite(pixels)


def _mean(
    stack: UInt16[np.ndarray, "time y x"], weights: UInt8[np.ndarray, "time y x"]
) -> UInt16[np.ndarray, "y x"]:
    total = np.zeros(stack.shape[1:], np.uint32)
    count = np.zeros(stack.shape[1:], np.uint32)
    for image, weight in zip(stack, weights, strict=True):
        seen = (image != NODATA) & (weight != 0)
        total += np.where(seen, image, np.uint16(0))
        count += seen
    return ((2 * total + count) // np.maximum(2 * count, 1)).astype(np.uint16)
