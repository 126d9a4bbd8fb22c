"""Tiles of web maps, from arrays to PNG."""

import io
from functools import cache

import matplotlib as mpl
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from sscl_geo.geo.legend import Legend
from sscl_geo.io.layout import FULL_CONFIDENCE

BRIGHTEST = 0.3
"""Reflectance that is shown as white; 0 is black."""

GAMMA = 1.4
"""Dark ground is brightened by the power 1 / 1.4."""

DECIBEL = (-25.0, 0.0)
"""Backscatter in dB that is shown as black and as white."""

OPAQUE = 255


def classes_png(classes: UInt8[np.ndarray, "y x"], legend: Legend) -> bytes:
    """Return classes in the legend's colours; what is no class of it is transparent."""
    colors = np.zeros((256, 4), np.uint8)
    for item in legend.classes:
        colors[item.value] = (*item.rgb, OPAQUE)
    return _indexed(classes, colors)


def levels_png(levels: UInt8[np.ndarray, "y x"]) -> bytes:
    """Return stored probabilities in viridis, dark where they are low; nodata is transparent."""
    return _indexed(levels, _viridis())


def colour_png(reflectance: Float32[np.ndarray, "3 y x"]) -> bytes:
    """Return red, green and blue reflectance in natural colours; NaN is transparent."""
    return _shaded(np.clip(reflectance / BRIGHTEST, 0, 1) ** (1 / GAMMA))


def radar_png(decibel: Float32[np.ndarray, "1 y x"]) -> bytes:
    """Return backscatter in grey; NaN is transparent."""
    low, high = DECIBEL
    return _shaded(np.repeat(np.clip((decibel - low) / (high - low), 0, 1), 3, 0))


def ramp(steps: int) -> list[str]:
    """Return colours (`#rrggbb`) of probabilities from 0 to 1."""
    chosen = _viridis()[np.linspace(0, FULL_CONFIDENCE, steps).astype(int), :3]
    return ["#" + bytes(color).hex() for color in chosen]


@cache
def _viridis() -> UInt8[np.ndarray, "256 4"]:
    colors = np.zeros((256, 4), np.uint8)
    shares = np.linspace(0, 1, FULL_CONFIDENCE + 1)
    colors[: FULL_CONFIDENCE + 1] = np.rint(255 * mpl.colormaps["viridis"](shares))
    return colors


def _indexed(values: UInt8[np.ndarray, "y x"], colors: UInt8[np.ndarray, "256 4"]) -> bytes:
    image = Image.fromarray(values, mode="P")
    image.putpalette(colors[:, :3].tobytes())
    return _png(image, colors[:, 3].tobytes())


def _shaded(shares: Float32[np.ndarray, "3 y x"]) -> bytes:
    is_known = np.isfinite(shares).all(0)
    alpha = np.where(is_known, np.uint8(OPAQUE), np.uint8(0))
    colors = np.rint(255 * np.where(is_known, shares, 0)).astype(np.uint8)
    return _png(Image.fromarray(np.dstack([*colors, alpha])))


def _png(image: Image.Image, transparency: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3, transparency=transparency)
    return buffer.getvalue()
