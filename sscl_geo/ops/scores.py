"""Agreement of a map with reference labels."""

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import UNLABELLED, Legend


class Evaluation(Frozen):
    """Agreement of a map with labels; a class without reference pixels has None for its scores.

    All scores are of the reference pixels that the map gives a class; those that it leaves without
    one are counted in `unmapped` alone. A class all of whose reference pixels are unmapped has a
    producer's accuracy and an IoU of 0, as the map shows none of it.

    Attributes:
        legend: The classes, in the order of the rows.
        matrix: Pixels by (reference, mapped) class.
        oa: Overall accuracy.
        aa: Average accuracy: mean producer's accuracy of the classes with reference pixels, mapped
            or not.
        miou: Mean intersection over union of the same classes.
        miou_all: The sum of all IoU divided by the number of all classes, those that the map lacks
            by its legend (`absent`) and those without reference pixels included, as some report
            it: over ten for the eight of DFC2020.
        recall: Producer's accuracy of each class.
        precision: User's accuracy of each class; None where none is mapped.
        iou: Intersection over union of each class.
        pixels: Number of reference pixels that are mapped.
        majority: Overall accuracy of mapping the most frequent reference class everywhere, on the
            same pixels.
        unmapped: Reference pixels of each class that are not mapped; none if empty.
    """

    legend: Legend
    matrix: tuple[tuple[int, ...], ...]
    oa: float
    aa: float
    miou: float
    miou_all: float
    recall: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    iou: tuple[float | None, ...]
    pixels: int
    majority: float
    unmapped: tuple[int, ...] = ()

    @property
    def unmapped_pixels(self) -> int:
        """Number of reference pixels that are not mapped."""
        return sum(self.unmapped)


def confusion(
    reference: UInt8[np.ndarray, "*shape"], mapped: UInt8[np.ndarray, "*shape"], legend: Legend
) -> Int64[np.ndarray, "classes columns"]:
    """Count pixels by (reference class, mapped class), both in the legend's order.

    The last column, one more than there are classes, counts those that are not mapped. Pixels
    without a reference are left out.
    """
    count = len(legend.classes)
    known = reference != UNLABELLED
    found = mapped[known]
    rows = legend.indices(reference[known]).astype(np.int64)
    columns = np.where(found == UNLABELLED, count, legend.indices(found).astype(np.int64))
    pairs = rows * (count + 1) + columns
    return np.bincount(pairs, minlength=count * (count + 1)).reshape(count, count + 1)


def ratio(
    part: Float64[np.ndarray, " classes"], whole: np.ndarray
) -> Float64[np.ndarray, " classes"]:
    """Return parts over wholes, NaN where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def evaluation(counts: Int64[np.ndarray, "classes columns"], legend: Legend) -> Evaluation:
    """Return everything that counts, as `confusion` makes them, say; one pixel must be mapped."""
    matrix, unmapped = counts[:, :-1], counts[:, -1]
    hits = np.diag(matrix).astype(np.float64)
    reference, mapped = matrix.sum(axis=1), matrix.sum(axis=0)
    is_present = reference + unmapped > 0
    recall, precision = ratio(hits, reference), ratio(hits, mapped)
    iou = ratio(hits, reference + mapped - hits)
    recall, iou = (_of_present(score, is_present) for score in (recall, iou))
    return Evaluation(
        legend=legend,
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        oa=float(hits.sum() / matrix.sum()),
        aa=float(recall[is_present].mean()),
        miou=float(iou[is_present].mean()),
        miou_all=float(np.nansum(iou) / (len(iou) + len({*legend.absent}))),
        recall=_known(recall),
        precision=_known(precision),
        iou=_known(iou),
        pixels=int(matrix.sum()),
        majority=float(reference.max() / matrix.sum()),
        unmapped=tuple(unmapped.tolist()),
    )


def _of_present(
    scores: Float64[np.ndarray, " classes"], is_present: Bool[np.ndarray, " classes"]
) -> Float64[np.ndarray, " classes"]:
    """Return scores of the classes with reference pixels, 0 where none is mapped; else NaN."""
    return np.where(is_present, np.nan_to_num(scores), np.nan)


def _known(values: Float64[np.ndarray, " classes"]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else value for value in values.tolist())
