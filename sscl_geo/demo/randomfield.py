"""Random fields: the raw material of relief, soil, clouds and speckle."""

import numpy as np
from jaxtyping import Float32
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter


def matern(
    rng: np.random.Generator, size_px: int, length_px: float, smoothness: float
) -> Float32[np.ndarray, "y x"]:
    """Draw a square Gaussian field of zero mean and unit variance.

    The covariance is of the Matern family (Whittle 1954, On stationary processes in the plane):
    `length_px` is its range, and a low `smoothness` gives ragged contours.
    """
    padded = next_fast_len(size_px + int(4 * length_px), real=True)
    y, x = np.fft.fftfreq(padded)[:, None], np.fft.rfftfreq(padded)[None]
    squared = (2 * np.pi) ** 2 * (y**2 + x**2) + 2 * smoothness / length_px**2
    amplitude = (squared ** (-(smoothness + 1) / 2)).astype(np.float32)
    white = rng.standard_normal((padded, padded), dtype=np.float32)
    field = irfft2(rfft2(white) * amplitude, s=white.shape)
    unit: Float32[np.ndarray, "y x"] = (field[:size_px, :size_px] / field.std()).astype(np.float32)
    return unit


def correlated_normal(
    rng: np.random.Generator, shape: tuple[int, int], sigma_px: float
) -> Float32[np.ndarray, "y x"]:
    """Draw standard normal values, correlated over about `sigma_px` pixels."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma_px, mode="wrap")
    unit: Float32[np.ndarray, "y x"] = field / field.std()
    return unit
