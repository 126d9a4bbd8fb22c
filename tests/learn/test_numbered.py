"""Pixels that have a class are numbered row by row."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from sscl_geo.learn.batches import IGNORED
from sscl_geo.learn.numbered import Numbered

LABELS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 3, 10, IGNORED]),
)


@given(LABELS)
def test_every_pixel_has_its_number_among_all_and_in_its_class(labels: np.ndarray) -> None:
    numbered = Numbered(labels)
    assert numbered.classes == tuple(np.unique(labels[labels != IGNORED]))
    for label in (None, *numbered.classes):
        expected = np.argwhere(labels != IGNORED if label is None else labels == label).tolist()
        assert numbered.count(label) == len(expected)
        found = [list(numbered.pixel(number, label)) for number in range(len(expected))]
        assert found == expected


@given(LABELS, st.integers(0, 8), st.integers(0, 8), st.integers(1, 4))
def test_a_square_is_labelled_where_one_of_its_pixels_is(
    labels: np.ndarray, y: int, x: int, side: int
) -> None:
    inside = [
        (row, column)
        for row, column in np.argwhere(labels != IGNORED)
        if y <= row < y + side and x <= column < x + side
    ]
    assert Numbered(labels).is_any(y, x, side) == bool(inside)


def test_nothing_is_counted_where_there_is_no_label() -> None:
    for labels in (np.zeros((0, 0), np.uint8), np.full((2, 3), IGNORED, np.uint8)):
        assert Numbered(labels).count() == Numbered(labels).count(3) == 0
