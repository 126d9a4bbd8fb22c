"""What lies around a pixel, as features for classifiers that see single pixels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import uniform_filter


def with_context(
    planes: Float32[np.ndarray, "plane y x"], sides: Sequence[int]
) -> Float32[np.ndarray, "feature y x"]:
    """Return planes, and the mean and standard deviation of each over squares about every pixel.

    Args:
        planes: Bands or features.
        sides: Sides of the squares in pixels; at the image's edge they are mirrored.
    """
    parts = [planes]
    for side in sides:
        window = (1, side, side)
        mean = uniform_filter(planes, window, mode="mirror")
        square = uniform_filter(planes * planes, window, mode="mirror")
        parts += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return np.concatenate(parts)
