"""What lies around a pixel, as features for classifiers that see single pixels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import uniform_filter

LEFT_OVER = 0.5
"""Fewer pixels of a square than this are what rounding leaves of those that went out of it."""


def with_context(
    planes: Float32[np.ndarray, "plane y x"],
    sides: Sequence[int],
    is_valid: Bool[np.ndarray, "plane y x"] | None = None,
) -> Float32[np.ndarray, "feature y x"]:
    """Return planes, and the mean and standard deviation of each over squares about every pixel.

    Args:
        planes: Bands or features.
        sides: Sides of the squares in pixels; at the image's edge they are mirrored.
        is_valid: Which numbers count in the squares; all if None. A square without any has 0.
    """
    if is_valid is not None and is_valid.all():
        is_valid = None
    parts = [planes]
    known = planes if is_valid is None else np.where(is_valid, planes, np.float32(0))
    for side in sides:
        window = (1, side, side)
        mean = uniform_filter(known, window, mode="mirror")
        square = uniform_filter(known * known, window, mode="mirror")
        if is_valid is not None:
            share = uniform_filter(is_valid.astype(np.float32), window, mode="mirror")
            has_any = share * side**2 > LEFT_OVER
            mean, square = (
                np.divide(part, share, out=np.zeros_like(part), where=has_any)
                for part in (mean, square)
            )
        parts += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return np.concatenate(parts)
