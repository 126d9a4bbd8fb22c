"""The best available observation of each pixel, with all its bands (Griffiths et al. 2013)."""

import numpy as np
from jaxtyping import UInt8, UInt16

from sscl_geo.ops.observation import NODATA, Composite

JOINT = True
BY_QUALITY = True


def composite(
    stack: UInt16[np.ndarray, "time band y x"], weights: UInt8[np.ndarray, "time y x"]
) -> Composite:
    """Return each pixel's observation of highest weight; of equals the first.

    Args:
        stack: Canonical DN. An observation that is 0 in any band does not count.
        weights: Quality of each observation, as of `ops.quality`; 0 where the ground was hidden.
    """
    pixels = np.zeros(stack.shape[1:], np.uint16)
    chosen = np.full(stack.shape[2:], -1, np.int16)
    best = np.zeros(stack.shape[2:], np.uint8)
    for time, (images, weight) in enumerate(zip(stack, weights, strict=True)):
        is_better = (weight > best) & (images != NODATA).all(axis=0)
        np.copyto(best, weight, where=is_better)
        np.copyto(chosen, np.int16(time), where=is_better)
        np.copyto(pixels, images, where=is_better)
    return Composite(pixels, chosen)
