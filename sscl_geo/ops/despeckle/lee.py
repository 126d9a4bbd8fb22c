"""Lee's filter: the local mean where the variation is speckle's, the pixel where it is more.

Lee 1980, "Digital image enhancement and noise filtering by use of local statistics".
"""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import uniform_filter

SIDE = 7
"""Side of the window in pixels."""


def despeckle(power: Float32[np.ndarray, "y x"], looks: float) -> Float32[np.ndarray, "y x"]:
    """Return an image with less speckle.

    Args:
        power: Linear power, above zero everywhere.
        looks: Equivalent number of looks; speckle has the relative variance 1/looks.
    """
    mean = uniform_filter(power.astype(np.float64), SIDE, mode="mirror")
    square = uniform_filter(power.astype(np.float64) ** 2, SIDE, mode="mirror")
    variance = np.maximum(square - mean**2, 0)
    relative = variance / mean**2
    ground = np.maximum(relative - 1 / looks, 0) / (1 + 1 / looks)
    weight = ground / np.maximum(relative, 1e-12)
    return np.asarray(mean + weight * (power - mean), np.float32)
