"""Clouds and their shadows, and what the Level-2A scene classification makes of them."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import shift

from sscl_geo.demo.randomfield import correlated_normal, matern
from sscl_geo.demo.signatures import BANDS

CAUGHT: Final = 0.12
"""Opacity below which the scene classification misses a cloud."""

_THICK: Final = 0.65
_MEDIUM: Final = 0.3
_DARK: Final = 0.4
_BRIGHTEST_WATER: Final = 0.07

_CLOUD: Final = dict(
    zip(
        BANDS,
        (0.74, 0.727, 0.677, 0.648, 0.66, 0.69, 0.71, 0.726, 0.7, 0.46, 0.03, 0.478, 0.409),
        strict=True,
    )
)
"""Mean reflectance of thick cloud (SCL 9) in the WorldCereal sample of Flanders (MIT), 2018."""

_SHADOW_DEPTH: Final = 0.65
"""Share of the light that a thick cloud takes; the same sample, SCL 3 against SCL 4."""


class Sky(NamedTuple):
    """What stands between the sun, the ground and the satellite, on the 10 m grid.

    Attributes:
        opacity: Share of what the satellite sees that is cloud, 0 to 1.
        shadow: Share of the light that clouds could take and do take, 0 to 1.
        brightness: Reflectance of the cloud relative to the mean of thick clouds.
    """

    opacity: Float32[np.ndarray, "y x"]
    shadow: Float32[np.ndarray, "y x"]
    brightness: float


def make_sky(rng: np.random.Generator, size_px: int, cover: float) -> Sky:
    """Draw soft-edged clouds over a share `cover` of the ground, shadows north-west of them."""
    depth = matern(rng, size_px, 45, 1.2) + 0.12 * matern(rng, size_px, 4, 1)
    above = (depth - np.quantile(depth, 1 - cover)) / 0.7 + CAUGHT
    opacity = np.clip(above, 0, 1).astype(np.float32)
    offset = -rng.uniform(12, 24), -rng.uniform(4, 16)
    shadow = np.clip(1.6 * shift(opacity, offset, order=1, mode="nearest"), 0, 1)
    return Sky(opacity, shadow.astype(np.float32), rng.uniform(0.85, 1.15))


def seen_through(
    reflectance: dict[str, Float32[np.ndarray, "_ _"]], sky: Sky
) -> dict[str, Float32[np.ndarray, "_ _"]]:
    """Lay shadows on the ground and clouds over it."""
    seen = {}
    for band, ground in reflectance.items():
        opacity, shadow = (_coarser(layer, len(ground)) for layer in sky[:2])
        lit = ground * (1 - _SHADOW_DEPTH * shadow)
        seen[band] = lit * (1 - opacity) + _CLOUD[band] * sky.brightness * opacity
    return seen


def scene_classification(
    seen: dict[str, Float32[np.ndarray, "_ _"]], sky: Sky, rng: np.random.Generator
) -> UInt8[np.ndarray, "_ _"]:
    """Classify at 20 m with the codes of Sen2Cor, not perfectly where clouds and shadows end."""
    size_px = len(seen["B11"])
    blur = 0.04 * correlated_normal(rng, (size_px, size_px), 1.5)
    opacity, shadow = (_coarser(layer, size_px) + blur for layer in sky[:2])
    red, near_infrared = _coarser(seen["B04"], size_px), _coarser(seen["B08"], size_px)
    clouds = [opacity > _THICK, opacity > _MEDIUM, opacity > CAUGHT, shadow > _DARK]
    is_water = near_infrared < _BRIGHTEST_WATER
    is_green = near_infrared > 2.2 * red
    codes = np.select([*clouds, is_water, is_green], [9, 8, 10, 3, 6, 4], 5)
    return codes.astype(np.uint8)


def _coarser(layer: Float32[np.ndarray, "y x"], size_px: int) -> Float32[np.ndarray, "_ _"]:
    """Average whole blocks so that `size_px` pixels a side remain."""
    ratio = len(layer) // size_px
    averaged: Float32[np.ndarray, "_ _"] = layer.reshape(size_px, ratio, size_px, ratio).mean(
        (1, 3)
    )
    return averaged
