"""Temperature scaling: one number that makes probabilities as sure as they are right.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599).
"""

import numpy as np
from jaxtyping import Float32, Int64
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from sscl_geo.ops.assessment import SMALLEST

LOWEST, HIGHEST = 0.05, 20.0


def fitted_temperature(
    logits: Float32[np.ndarray, "pixel class"], labels: Int64[np.ndarray, " pixel"]
) -> float:
    """Return the temperature, within 0.05..20, of the least negative log likelihood.

    Args:
        logits: What a network says of pixels that it did not learn from.
        labels: The positions of their classes.
    """
    wide = logits.astype(np.float64)
    true = wide[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        nll = logsumexp(wide / temperature, axis=1) - true / temperature
        return float(nll.mean())

    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def logits_of(
    probabilities: Float32[np.ndarray, "class *any"],
) -> Float32[np.ndarray, "class *any"]:
    """Return logits whose softmax over the first axis is what is given; none is below 1e-7."""
    logits: np.ndarray = np.log(np.maximum(probabilities, np.float32(SMALLEST)))
    return logits


def tempered(
    probabilities: Float32[np.ndarray, "class *any"], temperature: float
) -> Float32[np.ndarray, "class *any"]:
    """Return probabilities as they are once their logits are divided by a temperature."""
    scaled = logits_of(probabilities) / np.float32(temperature)
    return np.asarray(softmax(scaled, axis=0), np.float32)
