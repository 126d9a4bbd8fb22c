"""Assessments of probabilities against plain formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.ops.assessment import Tally
from sscl_geo.ops.reliability import BINS

LEGEND = Legend(
    name="three",
    classes=tuple(
        LandClass(value=value, name=str(value), color="#000000") for value in (10, 20, 30)
    ),
)


def drawn(seed: int, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.choice(np.array([0, 10, 20, 30], np.uint8), (side, side))
    raw = random.random((3, side, side)).astype(np.float32) ** 3 + 1e-3
    return labels, (raw / raw.sum(0)).astype(np.float32)


def tallied(*images: tuple[np.ndarray, np.ndarray]) -> Tally:
    tally = Tally(LEGEND)
    for labels, probabilities in images:
        tally.add(labels, probabilities)
    return tally


@given(st.integers(0, 1000))
def test_likelihood_and_calibration_are_those_of_their_formulas(seed: int) -> None:
    labels, probabilities = drawn(seed)
    found = tallied((labels, probabilities)).assessment()
    known = labels > 0
    truth = labels[known] // 10 - 1
    chosen = probabilities[:, known]
    nll = -np.log(chosen[truth, np.arange(truth.size)]).mean()
    confidence, is_right = chosen.max(0), chosen.argmax(0) == truth
    gap = 0.0
    for index in range(BINS):
        inside = (confidence * BINS).astype(int).clip(max=BINS - 1) == index
        if inside.any():
            gap += inside.mean() * abs(confidence[inside].mean() - is_right[inside].mean())
    assert np.isclose(found.nll, nll, rtol=1e-5)
    assert np.isclose(found.ece, gap, rtol=1e-5)
    assert np.isclose(found.scores.oa, is_right.mean())


@given(st.integers(0, 1000))
def test_images_add_up_whatever_their_order(seed: int) -> None:
    one, other = drawn(seed), drawn(seed + 1)
    a, b = tallied(one, other).assessment(), tallied(other, one).assessment()
    assert a.scores == b.scores
    assert np.isclose(a.nll, b.nll)
    assert a.boundary_f1 == b.boundary_f1


def halves(column: int) -> np.ndarray:
    classes = np.full((20, 20), 10, np.uint8)
    classes[:, column:] = 20
    return classes


def sure(classes: np.ndarray) -> np.ndarray:
    return np.stack([classes == value for value in LEGEND.values]).astype(np.float32)


def test_a_border_two_pixels_off_is_found_and_one_further_is_not() -> None:
    labels = halves(10)
    scores = [tallied((labels, sure(halves(c)))).assessment().boundary_f1 for c in (10, 12, 13)]
    assert scores == [1.0, 1.0, 0.0]
    flat = np.full((20, 20), 10, np.uint8)
    assert tallied((labels, sure(flat))).assessment().boundary_f1 == 0
    assert tallied((flat, sure(flat))).assessment().boundary_f1 is None


def test_what_has_no_label_at_all_is_not_judged() -> None:
    labels, probabilities = drawn(1)
    with pytest.raises(InvalidInputError, match="no pixel that is judged has a label"):
        tallied((0 * labels, probabilities)).assessment()
