"""Agreement of a map with reference labels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import UNLABELLED, Legend


class Scores(NamedTuple):
    """What a confusion matrix says; NaN where a class has no reference pixel.

    Attributes:
        oa: Overall accuracy.
        aa: Average accuracy: mean recall over the classes with reference pixels.
        miou: Mean intersection over union over the same classes.
        miou_all: The sum of all IoU divided by the number of all classes of the legend, those
            that it ignores included, as some report it: over ten for the eight of DFC2020.
        recall: Producer's accuracy of each class.
        precision: User's accuracy of each class.
        iou: Intersection over union of each class.
        pixels: Number of reference pixels that the map covers.
    """

    oa: float
    aa: float
    miou: float
    miou_all: float
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    iou: tuple[float, ...]
    pixels: int


class Evaluation(Frozen):
    """Agreement of a map with labels; numbers are None where a class has no reference pixel.

    Attributes:
        legend: The classes, in the order of the rows.
        matrix: Pixels by (reference, mapped) class.
        oa: Overall accuracy.
        aa: Mean producer's accuracy of the classes present.
        miou: Mean intersection over union of the classes present.
        miou_all: The sum of all IoU over the number of all classes of the legend, those that it
            ignores included.
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


def scores(matrix: Int64[np.ndarray, "classes classes"], ignored: int = 0) -> Scores:
    """Return the scores of a confusion matrix: macro recall and the Jaccard index.

    Args:
        matrix: Pixels by (reference, mapped) class.
        ignored: Number of classes that the legend ignores; only `miou_all` counts them.
    """
    hits = np.diag(matrix).astype(np.float64)
    reference, mapped = matrix.sum(axis=1), matrix.sum(axis=0)
    recall, precision = ratio(hits, reference), ratio(hits, mapped)
    iou = np.where(reference > 0, ratio(hits, reference + mapped - hits), np.nan)
    present = reference > 0
    return Scores(
        oa=float(hits.sum() / max(matrix.sum(), 1)),
        aa=float(recall[present].mean()) if present.any() else float("nan"),
        miou=float(iou[present].mean()) if present.any() else float("nan"),
        miou_all=float(np.nansum(iou) / (len(iou) + ignored)),
        recall=tuple(recall.tolist()),
        precision=tuple(precision.tolist()),
        iou=tuple(iou.tolist()),
        pixels=int(matrix.sum()),
    )


def ratio(
    part: Float64[np.ndarray, " classes"], whole: np.ndarray
) -> Float64[np.ndarray, " classes"]:
    """Return parts over wholes, NaN where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def evaluation(matrix: Int64[np.ndarray, "classes classes"], legend: Legend) -> Evaluation:
    """Return everything that a confusion matrix with at least one pixel says."""
    found = scores(matrix, len(legend.ignored))
    return Evaluation(
        legend=legend,
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        oa=found.oa,
        aa=found.aa,
        miou=found.miou,
        miou_all=found.miou_all,
        recall=_known(found.recall),
        precision=_known(found.precision),
        iou=_known(found.iou),
        pixels=found.pixels,
        majority=float(matrix.sum(axis=1).max() / matrix.sum()),
    )


def _known(values: tuple[float, ...]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else value for value in values)
