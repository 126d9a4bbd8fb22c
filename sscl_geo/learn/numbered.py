"""The pixels of an image of classes, found by number."""

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from sscl_geo.learn.batches import IGNORED


class Numbered:
    """Numbers the pixels of an image that have a class, and those of each class, row by row.

    Only their counts by row are held: classes may cover every pixel of many large fields.

    Args:
        labels: Numbers of classes, `IGNORED` where there is none.
    """

    def __init__(self, labels: UInt8[np.ndarray, "y x"]) -> None:
        self._labels = labels
        # Row by row: the labels may be a map of a file that is larger than memory.
        counts = np.zeros((len(labels), IGNORED + 1), np.int32)
        for row, line in enumerate(labels):
            counts[row] = np.bincount(line, minlength=IGNORED + 1)
        counts[:, IGNORED] = 0
        self.classes = tuple(np.flatnonzero(counts.any(0)).tolist())
        self._until: dict[int | None, Int64[np.ndarray, " y"]] = {
            None: np.cumsum(counts.sum(1, dtype=np.int64)),
            **{label: np.cumsum(counts[:, label], dtype=np.int64) for label in self.classes},
        }

    def count(self, label: int | None = None) -> int:
        """Return the number of pixels of a class, or of all."""
        until = self._until.get(label)
        return 0 if until is None or not len(until) else int(until[-1])

    def pixel(self, number: int, label: int | None = None) -> tuple[int, int]:
        """Return row and column of the pixel of this number, from 0, of a class or of all."""
        until = self._until[label]
        row = int(np.searchsorted(until, number, side="right"))
        before = int(until[row - 1]) if row else 0
        return row, int(np.flatnonzero(_is(self._labels[row], label))[number - before])

    def is_any(self, y: int, x: int, side: int) -> bool:
        """Return whether a square from this corner holds a pixel that has a class."""
        return bool((self._labels[y : y + side, x : x + side] != IGNORED).any())


def _is(labels: UInt8[np.ndarray, "*pixel"], label: int | None) -> Bool[np.ndarray, "*pixel"]:
    found: Bool[np.ndarray, "*pixel"] = labels != IGNORED if label is None else labels == label
    return found
