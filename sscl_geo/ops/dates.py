"""Which day a pixel of a composite shows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int16, UInt16


def middle_days(
    is_valid: Bool[np.ndarray, "time y x"], days: Sequence[int]
) -> UInt16[np.ndarray, "y x"]:
    """Return the day of year of the middle one of each pixel's observations; 0 without any.

    Of an even number it is the earlier of the middle two.

    Args:
        is_valid: Where each day has an observation.
        days: Day of year of each time, in the order of time.
    """
    left = (is_valid.sum(axis=0, dtype=np.uint16) + 1) // 2
    found = np.zeros(left.shape, np.uint16)
    for layer, day in zip(is_valid, days, strict=True):
        np.copyto(found, np.uint16(day), where=layer & (left == 1))
        left -= (layer & (left > 0)).astype(np.uint16)
    return found


def chosen_days(chosen: Int16[np.ndarray, "y x"], days: Sequence[int]) -> UInt16[np.ndarray, "y x"]:
    """Return the day of year of the chosen observation, 0 where `chosen` is -1."""
    return np.take(np.array([*days, 0], np.uint16), chosen)
