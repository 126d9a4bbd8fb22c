import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics

from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.ops.scores import Evaluation, confusion, evaluation

VALUES = (7, 2, 10, 255)
LEGEND = Legend(
    name="toy",
    classes=tuple(LandClass(value=n, name=f"c{n}", color="#112233") for n in VALUES),
)
PIXELS = st.lists(
    st.tuples(st.sampled_from((0, *VALUES)), st.sampled_from((0, *VALUES))), max_size=60
)


def columns(pixels: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pixels, np.uint8).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def counted(pixels: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    reference, mapped = columns(pixels)
    kept = (reference != 0) & (mapped != 0)
    return reference[kept], mapped[kept]


def floats(scores: tuple[float | None, ...]) -> np.ndarray:
    """Return the scores of classes, NaN where there is none."""
    return np.array(scores, np.float64)


@given(PIXELS)
def test_the_matrix_is_that_of_scikit_learn(pixels: list[tuple[int, int]]) -> None:
    reference, mapped = counted(pixels)
    assume(reference.size)
    expected = metrics.confusion_matrix(reference, mapped, labels=list(VALUES))
    found = confusion(*columns(pixels), LEGEND)
    assert np.array_equal(found[:, :-1], expected)
    assert found[:, -1].tolist() == [pixels.count((value, 0)) for value in VALUES]


@given(PIXELS)
def test_the_scores_are_those_of_scikit_learn(pixels: list[tuple[int, int]]) -> None:
    reference, mapped = counted(pixels)
    assume(reference.size)
    counts = confusion(*columns(pixels), LEGEND)
    found = evaluation(counts, LEGEND)
    labels = list(VALUES)
    present = [value in columns(pixels)[0] for value in labels]
    recall = metrics.recall_score(reference, mapped, labels=labels, average=None, zero_division=0)
    iou = metrics.jaccard_score(reference, mapped, labels=labels, average=None, zero_division=0)
    precision = metrics.precision_score(
        reference, mapped, labels=labels, average=None, zero_division=math.nan
    )
    assert found.oa == pytest.approx(metrics.accuracy_score(reference, mapped))
    assert found.aa == pytest.approx(recall[present].mean())
    assert found.miou == pytest.approx(iou[present].mean())
    assert found.miou_all == pytest.approx(iou.mean())
    absent = LEGEND.replace(absent=range(11, 21 - len(labels)), ignored=(99,))
    assert evaluation(counts, absent).miou_all == pytest.approx(iou.sum() / 10)
    assert found.pixels == reference.size
    nan = np.where(present, 0.0, np.nan)
    assert floats(found.recall) == pytest.approx(recall + nan, nan_ok=True)
    assert floats(found.iou) == pytest.approx(iou + nan, nan_ok=True)
    assert floats(found.precision) == pytest.approx(precision, nan_ok=True)


@given(PIXELS, PIXELS)
def test_matrices_of_pieces_add_up(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    pooled = confusion(*columns(one), LEGEND) + confusion(*columns(other), LEGEND)
    assert np.array_equal(pooled, confusion(*columns([*one, *other]), LEGEND))


@given(PIXELS)
def test_an_evaluation_survives_json(pixels: list[tuple[int, int]]) -> None:
    assume(counted(pixels)[0].size)
    counts = confusion(*columns(pixels), LEGEND)
    found = evaluation(counts, LEGEND)
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    assert np.array_equal(np.column_stack([found.matrix, found.unmapped]), counts)
    reference = counted(pixels)[0].tolist()
    assert found.majority == max(map(reference.count, VALUES)) / len(reference)
    every = columns(pixels)[0]
    assert [value is None for value in found.recall] == [value not in every for value in VALUES]


def test_a_class_without_a_pixel_has_no_score() -> None:
    found = evaluation(np.eye(4, 5, dtype=np.int64) * [3, 0, 0, 0, 0], LEGEND)
    assert found.pixels == 3
    assert found.aa == found.miou == 1
    assert found.recall == found.iou == found.precision == (1, None, None, None)


def test_a_class_that_is_not_mapped_at_all_counts_and_one_that_is_in_part_is_told() -> None:
    reference = np.array([7, 7, 2, 2, 2], np.uint8)
    found = evaluation(confusion(reference, np.array([7, 0, 0, 0, 0], np.uint8), LEGEND), LEGEND)
    assert (found.oa, found.aa, found.miou, found.pixels) == (1, 0.5, 0.5, 1)
    told = {name: getattr(found, name) for name in ("recall", "iou", "precision")}
    assert told["recall"] == told["iou"] == (1, 0, None, None)
    assert told["precision"] == (1, None, None, None)
    assert (found.unmapped, found.unmapped_pixels) == ((1, 3, 0, 0), 4)


def test_scores_of_before_unmapped_pixels_were_told_are_read() -> None:
    found = evaluation(np.ones((4, 5), np.int64), LEGEND)
    fields = found.model_dump(exclude={"unmapped"})
    assert Evaluation.model_validate(fields) == found.replace(unmapped=())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_pixel_has_no_evaluation() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        evaluation(np.zeros((4, 5), np.int64), LEGEND)
