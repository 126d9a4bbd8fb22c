from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sscl_geo.ops.pyramid import coarser_classes, coarser_levels

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
NODATA = 0


def squares(raster: np.ndarray, factor: int) -> list[list[list[int]]]:
    rows = range(0, raster.shape[0], factor)
    columns = range(0, raster.shape[1], factor)
    return [
        [raster[y : y + factor, x : x + factor].ravel().tolist() for x in columns] for y in rows
    ]


@given(arrays(np.uint8, SIZES, elements=st.integers(0, 3)), st.integers(1, 5))
def test_a_square_has_its_most_frequent_class_one_of_them_in_a_tie(
    classes: np.ndarray, factor: int
) -> None:
    found = coarser_classes(classes, factor, NODATA).tolist()
    for mine, row in zip(found, squares(classes, factor), strict=True):
        for value, pixels in zip(mine, row, strict=True):
            counts = Counter(pixel for pixel in pixels if pixel != NODATA)
            if counts:
                assert counts[value] == max(counts.values())
            else:
                assert value == NODATA


@given(
    arrays(np.uint8, SIZES, elements=st.integers(0, 5)),
    st.integers(1, 5),
    st.permutations(range(1, 6)),
)
def test_the_numbers_of_classes_mean_nothing(
    classes: np.ndarray, factor: int, others: list[int]
) -> None:
    renamed = np.array([NODATA, *others], np.uint8)
    one = renamed[coarser_classes(classes, factor, NODATA)]
    assert np.array_equal(one, coarser_classes(renamed[classes], factor, NODATA))


def test_of_two_classes_that_are_as_frequent_neither_wins_level_by_level() -> None:
    level = np.random.default_rng(0).integers(1, 3, (1024, 1024)).astype(np.uint8)
    for _ in range(5):
        level = coarser_classes(level, 2, NODATA)
        assert abs((level == 1).mean() - 0.5) < 3 * 0.5 / level.shape[0]


@given(arrays(np.uint8, SIZES, elements=st.sampled_from([0, 7, 100, 200, 255])), st.integers(1, 5))
def test_a_square_has_the_mean_of_its_valid_pixels(levels: np.ndarray, factor: int) -> None:
    def mean(pixels: list[int]) -> int:
        valid = [value for value in pixels if value != 255]
        return int(np.rint(np.mean(valid))) if valid else 255

    expected = [[mean(pixels) for pixels in row] for row in squares(levels, factor)]
    assert coarser_levels(levels, factor, 255).tolist() == expected


def test_a_raster_in_pieces_has_the_same_coarser_level() -> None:
    raster = np.random.default_rng(0).integers(0, 4, (64, 48)).astype(np.uint8)
    whole = coarser_classes(raster, 8, NODATA)
    upper, lower = (coarser_classes(raster[part], 8, NODATA) for part in np.s_[:32, 32:])
    assert np.array_equal(np.concatenate([upper, lower]), whole)
