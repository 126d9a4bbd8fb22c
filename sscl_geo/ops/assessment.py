"""How good probabilities of classes are: agreement, calibration, and borders."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy.ndimage import distance_transform_edt

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.ops.reliability import BINS, binned, calibration_error
from sscl_geo.ops.scores import Evaluation, confusion, evaluation

TOLERANCE_PX = 2.0
"""How far a mapped border may lie from a true one and still count as found."""

SMALLEST = 1e-7


class Assessment(Frozen):
    """What probabilities of classes are worth.

    Attributes:
        scores: Agreement of the most probable class.
        nll: Mean negative log probability of the true class, in nats.
        ece: Expected calibration error, over 15 bins of equal width.
        boundary_f1: Harmonic mean of the shares of mapped borders near a true one and of true
            borders near a mapped one; None where neither has a border (Csurka et al. 2013).
    """

    scores: Evaluation
    nll: float
    ece: float
    boundary_f1: float | None


class Tally:
    """Adds up images with labels until they are assessed.

    Args:
        legend: The classes, in the order of the probabilities.
    """

    def __init__(self, legend: Legend) -> None:
        count = len(legend.classes)
        self._legend = legend
        self._matrix = np.zeros((count, count + 1), np.int64)
        self._bins = np.zeros((3, BINS))
        self._nll = 0.0
        self._borders = np.zeros(4, np.int64)

    def add(
        self, labels: UInt8[np.ndarray, "y x"], probabilities: Float32[np.ndarray, "class y x"]
    ) -> None:
        """Take an image: class values, 0 where unknown, and probabilities that sum to 1."""
        best = probabilities.argmax(0)
        mapped = np.array(self._legend.values, np.uint8)[best]
        self._matrix += confusion(labels, mapped, self._legend)
        known = labels != UNLABELLED
        truth = self._legend.indices(labels)[known]
        chosen = probabilities[:, known]
        given = chosen[truth, np.arange(truth.size)]
        self._nll -= float(np.log(np.maximum(given, SMALLEST)).sum())
        confidence, is_right = chosen.max(0), best[known] == truth
        self._bins += binned(confidence, np.ones(truth.size), is_right)
        self._borders += _border_hits(labels, mapped, known)

    def assessment(self) -> Assessment:
        """Return what was added up.

        Raises:
            InvalidInputError: No pixel had a label.
        """
        pixels = int(self._matrix.sum())
        if not pixels:
            raise InvalidInputError("no pixel that is judged has a label; judge by other chips")
        near_true, mapped, near_mapped, true = self._borders.tolist()
        f1 = None
        if mapped or true:
            precision, recall = near_true / max(mapped, 1), near_mapped / max(true, 1)
            f1 = 2 * precision * recall / max(precision + recall, SMALLEST)
        return Assessment(
            scores=evaluation(self._matrix, self._legend),
            nll=self._nll / pixels,
            ece=calibration_error(self._bins),
            boundary_f1=f1,
        )


def _border_hits(
    labels: UInt8[np.ndarray, "y x"],
    mapped: UInt8[np.ndarray, "y x"],
    known: Bool[np.ndarray, "y x"],
) -> Int64[np.ndarray, " 4"]:
    true, found = _border(labels, known), _border(mapped, known)
    near_true = found & (_distance(true) <= TOLERANCE_PX)
    near_found = true & (_distance(found) <= TOLERANCE_PX)
    return np.array([near_true.sum(), found.sum(), near_found.sum(), true.sum()])


def _border(
    classes: UInt8[np.ndarray, "y x"], known: Bool[np.ndarray, "y x"]
) -> Bool[np.ndarray, "y x"]:
    """Return the known pixels whose right or lower neighbour is known and of another class."""
    border = np.zeros(classes.shape, np.bool_)
    border[:-1] |= (classes[:-1] != classes[1:]) & known[:-1] & known[1:]
    border[:, :-1] |= (classes[:, :-1] != classes[:, 1:]) & known[:, :-1] & known[:, 1:]
    return border


def _distance(border: Bool[np.ndarray, "y x"]) -> np.ndarray:
    if not border.any():
        return np.full(border.shape, np.inf)
    return np.asarray(distance_transform_edt(~border))
