"""Change between two maps of classes, pixel by pixel."""

import numpy as np
from jaxtyping import UInt8, UInt16

from sscl_geo.geo.legend import UNLABELLED

FROM = 256
"""A change is stored as 256 x the class before + the class after; 0 where either has none."""

Layer = UInt8[np.ndarray, "y x"]


def change_codes(before: Layer, after: Layer) -> UInt16[np.ndarray, "y x"]:
    """Return the change of each pixel; a class that stays has a code too."""
    codes = before.astype(np.uint16) * np.uint16(FROM) + after
    return np.where((before == UNLABELLED) | (after == UNLABELLED), np.uint16(UNLABELLED), codes)


def joint_levels(before: Layer, after: Layer, full: int, nodata: int) -> Layer:
    """Return the probability that both classes are right, were their errors independent.

    Args:
        before: Probabilities of the classes before, as levels from 0 to `full`.
        after: Those of the classes after.
        full: The level of probability 1.
        nodata: The level of a pixel without a class; it stays one if either is.
    """
    product = np.rint(before.astype(np.float32) * after / full).astype(np.uint8)
    return np.where((before == nodata) | (after == nodata), np.uint8(nodata), product)
