"""Non-local means on the logarithm, where speckle is additive with a known spread.

Buades et al. 2005 with the fast patches of Darbon et al. 2008, as in scikit-image. The logarithm of
L-look speckle has the mean psi(L) - ln L and the variance psi'(L).
"""

import numpy as np
from jaxtyping import Float32
from scipy.special import polygamma, psi
from skimage.restoration import denoise_nl_means

PATCH_PX, REACH_PX = 5, 9
"""Side of the patches that are compared, and how far they may lie apart."""

STRENGTH = 0.8
"""Width of the weights in standard deviations of the speckle."""


def despeckle(power: Float32[np.ndarray, "y x"], looks: float) -> Float32[np.ndarray, "y x"]:
    """Return an image with less speckle.

    Args:
        power: Linear power, above zero everywhere.
        looks: Equivalent number of looks.
    """
    spread = float(np.sqrt(polygamma(1, looks)))
    logarithm = np.log(power.astype(np.float64)) - (psi(looks) - np.log(looks))
    smooth = denoise_nl_means(
        logarithm,
        patch_size=PATCH_PX,
        patch_distance=REACH_PX,
        h=STRENGTH * spread,
        sigma=spread,
        fast_mode=True,
    )
    return np.asarray(np.exp(smooth), np.float32)
