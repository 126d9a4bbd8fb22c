"""Geometric median over time: the spectrum nearest to all observed spectra.

It minimises the weighted sum of Euclidean distances in reflectance to the observations (Roberts,
Mueller & McIntyre 2017, "High-dimensional pixel composites from Earth observation time series",
IEEE TGRS 55(11)), by Weiszfeld's iteration (Weiszfeld 1937, "Sur le point pour lequel la somme des
distances de n points donnes est minimum", Tohoku Math. J. 43) from the weighted mean. A distance d
counts as sqrt(d^2 + SOFTENING^2), so that an iterate on an observation does not stick to it, and
observations on a line have one median. Canonical DN are reflectance times a scale plus an offset,
and the median moves with both, so it is computed in DN.
"""

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from sscl_geo.ops.observation import NODATA, Composite, strips

JOINT = True
BY_QUALITY = False

SOFTENING = np.float32(1.0)
"""In DN: a reflectance of 0.0001."""

SETTLED = np.float32(0.02)
"""A pixel is done when no band moves by more DN than this in a step."""

ROUNDS, STEPS = 20, 5
"""The most looks at what is done, and the steps between two of them."""

MOST_PX = 2**14
"""Pixels of a strip; of 12 times and 4 bands its spectra take 3 MB."""


def composite(
    stack: UInt16[np.ndarray, "time band y x"], weights: UInt8[np.ndarray, "time y x"]
) -> Composite:
    """Return each pixel's weighted geometric median over all bands, rounded half up.

    Args:
        stack: Canonical DN. An observation that is 0 in any band does not count.
        weights: Weight of each observation; 0 where the ground was hidden. One that has more than
            half of a pixel's weight decides alone; equal weights resist outliers best.

    The order of time may change a result by 1 DN, where float32 sums differ.
    """
    pixels = np.zeros(stack.shape[1:], np.uint16)
    for strip in strips(stack.shape[2], stack.shape[3], MOST_PX):
        window = stack[:, :, *strip]
        whole = np.where((window != NODATA).all(axis=1), weights[:, *strip], 0)
        flat = window.reshape(*window.shape[:2], -1), whole.reshape(len(whole), -1)
        pixels[:, *strip] = _medians(*flat).reshape(window.shape[1:])
    return Composite(pixels)


def _medians(
    stack: UInt16[np.ndarray, "time band pixel"], weights: UInt8[np.ndarray, "time pixel"]
) -> UInt16[np.ndarray, "band pixel"]:
    result = np.zeros(stack.shape[1:], np.uint16)
    left = np.flatnonzero(weights.any(axis=0))
    spectra, weight = stack[..., left].astype(np.float32), weights[:, left].astype(np.float32)
    centre = _mean(spectra, weight)
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            centre, moved = _step(spectra, weight, centre)
        result[:, left] = np.floor(centre + np.float32(0.5))
        going = (np.abs(moved) > SETTLED).any(axis=0)
        if not going.any():
            break
        left, centre = left[going], np.compress(going, centre, axis=1)
        spectra, weight = (np.compress(going, held, axis=-1) for held in (spectra, weight))
    return result


def _mean(
    spectra: Float32[np.ndarray, "time band pixel"], weight: Float32[np.ndarray, "time pixel"]
) -> Float32[np.ndarray, "band pixel"]:
    total, sums = np.zeros_like(weight[0]), np.zeros_like(spectra[0])
    for spectrum, w in zip(spectra, weight, strict=True):
        total += w
        sums += w * spectrum
    return np.asarray(sums / total)


def _step(
    spectra: Float32[np.ndarray, "time band pixel"],
    weight: Float32[np.ndarray, "time pixel"],
    centre: Float32[np.ndarray, "band pixel"],
) -> tuple[Float32[np.ndarray, "band pixel"], Float32[np.ndarray, "band pixel"]]:
    """Return the next iterate and how far it moved."""
    total, pull = np.zeros_like(weight[0]), np.zeros_like(centre)
    for spectrum, w in zip(spectra, weight, strict=True):
        offset = spectrum - centre
        share = w / _length(offset)
        total += share
        pull += share * offset
    moved = pull / total
    return centre + moved, moved


def _length(offset: Float32[np.ndarray, "band pixel"]) -> Float32[np.ndarray, " pixel"]:
    # Band by band: a sum over an axis may change its order, and its bits, with the strip's width.
    square = np.full(offset.shape[1], SOFTENING**2)
    for band in offset:
        square += band * band
    return np.sqrt(square)
