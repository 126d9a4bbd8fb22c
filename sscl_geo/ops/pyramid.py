"""Coarser levels of maps: the most frequent class, the mean of a quantity."""

import numpy as np
from jaxtyping import UInt8

Raster = UInt8[np.ndarray, "y x"]
Coarse = UInt8[np.ndarray, "rows columns"]


def coarser_classes(classes: Raster, factor: int, nodata: int) -> Coarse:
    """Return the most frequent class of each square of `factor` pixels.

    Of a tie the one that a walk through the square meets first; neighbouring squares begin it in
    different quarters. So no class gains from its number, or from where it lies; the lowest would
    gain from level to level. A square that reaches over the raster's edge counts what lies inside;
    nodata counts only where there is nothing else.

    A raster may come in pieces that begin at even rows and columns of squares.
    """
    squares = _squares(classes, factor, nodata)
    pixels = factor * factor
    for y, x in ((0, 1), (1, 0), (1, 1)):
        begin = (2 * y + x) * pixels // 4
        squares[y::2, x::2] = np.roll(squares[y::2, x::2], -begin, 2)
    best = np.full(squares.shape[:2], nodata, np.uint8)
    most = np.zeros(squares.shape[:2], np.int32)
    for value in np.unique(classes):
        if value != nodata:
            is_it = squares == value
            rank = (pixels + 1) * np.count_nonzero(is_it, axis=2) - is_it.argmax(2)
            is_more = rank > most
            best[is_more], most[is_more] = value, rank[is_more]
    return best


def coarser_levels(levels: Raster, factor: int, nodata: int) -> Coarse:
    """Return the mean, rounded, of the valid pixels of each square; nodata where there are none."""
    squares = _squares(levels, factor, nodata)
    is_valid = squares != nodata
    count = is_valid.sum(2)
    total = np.where(is_valid, squares, 0).sum(2, dtype=np.uint32)
    mean = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
    return np.where(count > 0, mean, np.uint8(nodata))


def _squares(raster: Raster, factor: int, nodata: int) -> UInt8[np.ndarray, "rows columns pixels"]:
    """Return the pixels of each square, filled up with nodata at the lower and right edges."""
    height, width = raster.shape
    rows, columns = -(-height // factor), -(-width // factor)
    missing = ((0, rows * factor - height), (0, columns * factor - width))
    padded = np.pad(raster, missing, constant_values=nodata)
    split = padded.reshape(rows, factor, columns, factor)
    return split.transpose(0, 2, 1, 3).reshape(rows, columns, factor * factor)
