"""Agreement of a map with reference labels."""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import UNLABELLED, Legend


class Evaluation(Frozen):
    """Agreement of a map with labels; numbers are None where a class has no reference pixel.

    Attributes:
        legend: The classes, in the order of the rows.
        matrix: Pixels by (reference, mapped) class.
        oa: Overall accuracy.
        aa: Average accuracy: mean producer's accuracy of the classes with reference pixels.
        miou: Mean intersection over union of the same classes.
        miou_all: The sum of all IoU divided by the number of all classes of the legend, those
            that it ignores included, as some report it: over ten for the eight of DFC2020.
        recall: Producer's accuracy of each class.
        precision: User's accuracy of each class.
        iou: Intersection over union of each class.
        pixels: Number of reference pixels.
        majority: Overall accuracy of mapping the most frequent reference class everywhere.
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


def confusion(
    reference: UInt8[np.ndarray, "*shape"], mapped: UInt8[np.ndarray, "*shape"], legend: Legend
) -> Int64[np.ndarray, "classes classes"]:
    """Count pixels by (reference class, mapped class), both in the legend's order.

    Pixels without a reference or without a map are left out.
    """
    count = len(legend.classes)
    counted = (reference != UNLABELLED) & (mapped != UNLABELLED)
    rows, columns = legend.indices(reference[counted]), legend.indices(mapped[counted])
    pairs = rows.astype(np.int64) * count + columns
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def ratio(
    part: Float64[np.ndarray, " classes"], whole: np.ndarray
) -> Float64[np.ndarray, " classes"]:
    """Return parts over wholes, NaN where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def evaluation(matrix: Int64[np.ndarray, "classes classes"], legend: Legend) -> Evaluation:
    """Return everything that a confusion matrix with at least one pixel says."""
    hits = np.diag(matrix).astype(np.float64)
    reference, mapped = matrix.sum(axis=1), matrix.sum(axis=0)
    is_present = reference > 0
    recall, precision = ratio(hits, reference), ratio(hits, mapped)
    iou = np.where(is_present, ratio(hits, reference + mapped - hits), np.nan)
    return Evaluation(
        legend=legend,
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        oa=float(hits.sum() / matrix.sum()),
        aa=float(recall[is_present].mean()),
        miou=float(iou[is_present].mean()),
        miou_all=float(np.nansum(iou) / (len(iou) + len(legend.ignored))),
        recall=_known(recall),
        precision=_known(precision),
        iou=_known(iou),
        pixels=int(matrix.sum()),
        majority=float(reference.max() / matrix.sum()),
    )


def _known(values: Float64[np.ndarray, " classes"]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else value for value in values.tolist())
