"""SAR-BM3D: blocks that look alike under speckle are stacked and shrunk together, twice.

Parrilli et al. 2012, "A nonlocal SAR image denoising algorithm based on LLMMSE wavelet shrinkage".
Written anew from the paper's description, in amplitude, block by block; the undecimated wavelet of
a block is a matrix, as blocks have 64 pixels. Slow: half a minute for 256² pixels.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.fft import dct
from scipy.linalg import hadamard
from scipy.special import gammaln

BLOCK, STEP, REACH = 8, 3, 19
"""Side of a block, distance of reference blocks, and how far a similar block may lie."""

FIRST, SECOND = 16, 32
"""Blocks of a stack in the two passes."""

LEVELS = 3
GAMMA = 1.0
"""Weight of the first pass's result in the second pass's distance."""

# Daubechies' scaling filter with four vanishing moments (Daubechies 1992, table 6.1).
_SCALING = np.array(
    [
        0.23037781330885523,
        0.7148465705525415,
        0.6308807679295904,
        -0.02798376941698385,
        -0.18703481171888114,
        0.030841381835986965,
        0.032883011666982945,
        -0.010597401784997278,
    ]
)


def despeckle(power: Float32[np.ndarray, "y x"], looks: float) -> Float32[np.ndarray, "y x"]:
    """Return an image with less speckle.

    Args:
        power: Linear power, above zero everywhere; at least a block on a side.
        looks: Equivalent number of looks.
    """
    margin = REACH + BLOCK
    amplitude = np.sqrt(np.pad(power.astype(np.float64), margin, mode="reflect"))
    corners = _corners(amplitude.shape, margin)
    first = _first_pass(amplitude, corners, looks)
    second = _second_pass(amplitude, first, corners, looks)
    inner = second[margin:-margin, margin:-margin]
    return np.asarray(inner**2, np.float32)


class _Corners(NamedTuple):
    rows: Int64[np.ndarray, " block"]
    columns: Int64[np.ndarray, " block"]


def _corners(shape: tuple[int, ...], margin: int) -> _Corners:
    """Return the upper left corners of the reference blocks, which cover the inner image."""
    axes = []
    for size in shape:
        last = size - margin
        start = np.arange(margin - BLOCK + 1, last, STEP)
        axes.append(np.append(start, last - 1))
    rows, columns = np.meshgrid(*axes, indexing="ij")
    return _Corners(rows.ravel(), columns.ravel())


def _shifts() -> Iterator[tuple[int, int]]:
    for y in range(-REACH, REACH + 1):
        for x in range(-REACH, REACH + 1):
            yield y, x


def _nearest(
    distances: Iterator[Float64[np.ndarray, "y x"]], corners: _Corners, count: int
) -> Int64[np.ndarray, "block match"]:
    """Return the numbers of the shifts whose blocks are most alike, the block itself among them."""
    table = np.stack(
        [_summed(one)[corners.rows, corners.columns].astype(np.float32) for one in distances], 1
    )
    return np.asarray(np.argpartition(table, count - 1, axis=1)[:, :count])


def _summed(values: Float64[np.ndarray, "y x"]) -> Float64[np.ndarray, "cy cx"]:
    """Return the sum over the block at each upper left corner; the last ones are cut off."""
    table = np.pad(np.cumsum(np.cumsum(values, 0), 1), ((1, 0), (1, 0)))
    inner = table[BLOCK:, BLOCK:] - table[:-BLOCK, BLOCK:] - table[BLOCK:, :-BLOCK]
    return np.asarray(inner + table[:-BLOCK, :-BLOCK])


def _blocks(
    image: Float64[np.ndarray, "y x"],
    corners: _Corners,
    chosen: Int64[np.ndarray, "block match"],
) -> Float64[np.ndarray, "block match pixel"]:
    """Return the pixels of the chosen blocks."""
    shifts = np.array(list(_shifts()))[chosen]
    windows = np.lib.stride_tricks.sliding_window_view(image, (BLOCK, BLOCK))
    rows = corners.rows[:, None] + shifts[..., 0]
    columns = corners.columns[:, None] + shifts[..., 1]
    found: np.ndarray = windows[rows, columns].reshape(*chosen.shape, BLOCK * BLOCK)
    return found


class _Average:
    """Weighted sums of overlapping blocks."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sum, self._weight = np.zeros(shape), np.zeros(shape)

    def add(
        self,
        blocks: Float64[np.ndarray, "block match pixel"],
        weights: Float64[np.ndarray, " block"],
        corners: _Corners,
        chosen: Int64[np.ndarray, "block match"],
    ) -> None:
        shifts = np.array(list(_shifts()))[chosen]
        y, x = np.divmod(np.arange(BLOCK * BLOCK), BLOCK)
        rows = (corners.rows[:, None] + shifts[..., 0])[..., None] + y
        columns = (corners.columns[:, None] + shifts[..., 1])[..., None] + x
        flat = np.ravel_multi_index((rows, columns), self._sum.shape).ravel()
        spread = np.broadcast_to(weights[:, None, None], blocks.shape)
        size = self._sum.size
        self._sum += np.bincount(flat, (spread * blocks).ravel(), size).reshape(self._sum.shape)
        self._weight += np.bincount(flat, spread.ravel(), size).reshape(self._sum.shape)

    def result(self, otherwise: Float64[np.ndarray, "y x"]) -> Float64[np.ndarray, "y x"]:
        known = self._weight > 0
        return np.where(known, self._sum / np.where(known, self._weight, 1), otherwise)


def _first_pass(
    amplitude: Float64[np.ndarray, "y x"], corners: _Corners, looks: float
) -> Float64[np.ndarray, "y x"]:
    log = np.log(amplitude)

    def distances() -> Iterator[Float64[np.ndarray, "y x"]]:
        for shift in _shifts():
            gap = log - _moved(log, shift)
            # ln(a/b + b/a) of amplitudes a and b.
            yield (2 * looks - 1) * np.logaddexp(gap, -gap)

    chosen = _nearest(distances(), corners, FIRST)
    noise = _relative_variance(looks)
    blocks = _blocks(amplitude, corners, chosen)
    stack = _stack_transform(FIRST)
    forward, back = _wavelets()
    bands = np.einsum("ms,bsp,wp->bmw", stack, blocks, forward, optimize=True)
    # Within a sub-band of a stack, the speckle's variance is a share of the mean square.
    share = noise / (1 + noise)
    mean_square = (blocks**2).mean((1, 2))
    parts = bands.reshape(*bands.shape[:2], -1, BLOCK * BLOCK)
    energy = (parts**2).mean((1, 3), keepdims=True)
    # The transform is not orthonormal: each sub-band passes a share of white noise on.
    passed = (forward**2).sum(1).reshape(-1, BLOCK * BLOCK).mean(1)[None, None, :, None]
    noise_energy = share * mean_square[:, None, None, None] * passed
    gain = np.maximum(energy - noise_energy, 0) / np.maximum(energy, 1e-30)
    gain[:, :, -1] = 1  # the coarsest approximation is not shrunk
    shrunk = (parts * gain).reshape(bands.shape)
    restored = np.einsum("ms,bmw,pw->bsp", stack, shrunk, back, optimize=True)
    residual = (noise_energy * gain**2).mean((1, 2, 3))
    average = _Average(amplitude.shape)
    average.add(restored, 1 / np.maximum(residual, 1e-30), corners, chosen)
    return np.asarray(np.maximum(average.result(amplitude), 1e-6 * amplitude))


def _second_pass(
    amplitude: Float64[np.ndarray, "y x"],
    pilot: Float64[np.ndarray, "y x"],
    corners: _Corners,
    looks: float,
) -> Float64[np.ndarray, "y x"]:
    log, power = np.log(amplitude), pilot**2

    def distances() -> Iterator[Float64[np.ndarray, "y x"]]:
        for shift in _shifts():
            gap, other = log - _moved(log, shift), _moved(power, shift)
            alike = (2 * looks - 1) * np.logaddexp(gap, -gap)
            yield alike + GAMMA * looks * (power - other) ** 2 / (power * other)

    chosen = _nearest(distances(), corners, SECOND)
    stack, cosine = _stack_transform(SECOND), _cosines()
    noisy, clean = (
        np.einsum("ms,bsp,wp->bmw", stack, _blocks(image, corners, chosen), cosine, optimize=True)
        for image in (amplitude, pilot)
    )
    noise = ((noisy - clean) ** 2).mean((1, 2), keepdims=True)
    gain = clean**2 / (clean**2 + noise)
    restored = np.einsum("ms,bmw,wp->bsp", stack, gain * noisy, cosine, optimize=True)
    weights = 1 / np.maximum((noise * gain**2).mean((1, 2)), 1e-30)
    average = _Average(amplitude.shape)
    average.add(restored, weights, corners, chosen)
    return np.asarray(np.maximum(average.result(pilot), 1e-6 * amplitude))


def _moved(image: Float64[np.ndarray, "y x"], shift: tuple[int, int]) -> np.ndarray:
    """Return the image whose pixel at a place is the one that lies `shift` further."""
    return np.roll(image, (-shift[0], -shift[1]), (0, 1))


def _relative_variance(looks: float) -> float:
    """Return the variance of the amplitude of speckle over its squared mean."""
    mean = np.exp(gammaln(looks + 0.5) - gammaln(looks)) / np.sqrt(looks)
    return float(1 / mean**2 - 1)


@cache
def _stack_transform(count: int) -> Float64[np.ndarray, "count count"]:
    """Return an orthonormal Haar-like transform along a stack (Walsh-Hadamard)."""
    return np.asarray(hadamard(count) / np.sqrt(count), np.float64)


@cache
def _cosines() -> Float64[np.ndarray, "64 64"]:
    """Return the orthonormal two-dimensional DCT of a block as a matrix."""
    line = dct(np.eye(BLOCK), axis=0, norm="ortho")
    return np.asarray(np.kron(line, line), np.float64)


@cache
def _wavelets() -> tuple[Float64[np.ndarray, "w 64"], Float64[np.ndarray, "64 w"]]:
    """Return the undecimated wavelet transform of a block as a matrix, and its inverse."""
    low_pass, parts = np.eye(BLOCK * BLOCK), []
    for level in range(LEVELS):
        low, high = (_circulant(taps, 2**level) for taps in _filters())
        parts += [np.kron(a, b) @ low_pass for a, b in ((low, high), (high, low), (high, high))]
        low_pass = np.kron(low, low) @ low_pass
    forward = np.concatenate([*parts, low_pass])
    return forward, np.linalg.pinv(forward)


def _filters() -> tuple[np.ndarray, np.ndarray]:
    low = _SCALING / np.sqrt(2)
    return low, low[::-1] * (-1.0) ** np.arange(len(low))


def _circulant(taps: np.ndarray, spacing: int) -> Float64[np.ndarray, "8 8"]:
    matrix = np.zeros((BLOCK, BLOCK))
    for index, tap in enumerate(taps):
        matrix += tap * np.roll(np.eye(BLOCK), index * spacing, 1)
    return matrix
