"""How much detail feature maps keep of the image that they were made of."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

COMPONENTS = 3


class Detail(NamedTuple):
    """Detail of feature maps, after principal components of planes of equal size.

    Attributes:
        gradient: Mean squared gradient of the first three components over their variance, as a
            ratio to that of the image: 1 is as sharp as the image.
        frequency: Spatial frequency below which half of their power lies, in cycles per pixel, as a
            ratio to that of the image. (The power of land falls so steeply that the frequency at
            which it has fallen by 3 dB is the lowest or second-lowest that a chip has.)
    """

    gradient: float
    frequency: float


def detail(
    features: Float32[np.ndarray, "plane y x"], image: Float32[np.ndarray, "band y x"]
) -> Detail | None:
    """Return the detail of features relative to the image, of equal size; None if that has none."""
    pairs = [(_gradient(one), _frequency(one)) for one in map(principal, (features, image))]
    (gradient, frequency), (of_image, frequency_of_image) = pairs
    if not (of_image and frequency_of_image):
        return None
    return Detail(gradient / of_image, frequency / frequency_of_image)


def principal(planes: Float32[np.ndarray, "plane y x"]) -> Float32[np.ndarray, "component y x"]:
    """Return the first three principal components of pixels, of unit variance; fewer if none."""
    flat = planes.reshape(len(planes), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    order = values.argsort()[::-1][:COMPONENTS]
    kept = order[values[order] > 1e-12 * max(values.max(), 1e-300)]
    found: np.ndarray = (vectors[:, kept].T @ flat) / np.sqrt(values[kept])[:, None]
    return found.reshape(-1, *planes.shape[1:]).astype(np.float32)


def _gradient(components: Float32[np.ndarray, "component y x"]) -> float:
    """Return the mean squared gradient of planes of unit variance."""
    if not len(components):
        return 0.0
    down, across = np.diff(components, axis=1), np.diff(components, axis=2)
    return float((down**2).mean() + (across**2).mean())


def _frequency(components: Float32[np.ndarray, "component y x"]) -> float:
    if not len(components):
        return 0.0
    power = (np.abs(np.fft.fft2(components)) ** 2).sum(0)
    y, x = (np.fft.fftfreq(size) for size in power.shape)
    radius = np.hypot(*np.meshgrid(y, x, indexing="ij")).ravel()
    order = radius.argsort()
    total = power.ravel()[order].cumsum()
    return float(radius[order][np.searchsorted(total, total[-1] / 2)])
