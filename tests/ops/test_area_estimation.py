"""Areas by a sample: the paper's numbers, laws, and intervals that keep their promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sscl_geo.ops.area_estimation import Z95, estimate, thin_strata

SIZES = st.integers(2, 6)


def test_a_published_example_is_reproduced() -> None:
    matrix = np.array([[410, 26], [67, 369]])
    found = estimate(matrix, np.array([828837.0, 33067283.0]))
    assert found.overall == pytest.approx((0.84862969, 0.01687046), abs=1e-8)
    assert found.users == pytest.approx([0.9403670, 0.8463303], abs=1e-7)
    assert found.producers == pytest.approx([0.132986, 0.998237], abs=1e-6)
    assert found.shares[0] == pytest.approx(0.1729063, abs=1e-7)
    assert Z95 * found.shares_error[0] == pytest.approx(0.03306609, abs=2e-8)


def test_the_table_of_the_paper_is_reproduced() -> None:
    # Olofsson et al. 2014, section 5: deforestation, forest gain, stable forest and non-forest.
    matrix = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    pixels = np.array([200000.0, 150000, 3200000, 6450000])
    found = estimate(matrix, pixels)
    assert Z95 * found.overall[1] == pytest.approx(0.02, abs=0.005)
    assert found.overall[0] == pytest.approx(0.95, abs=0.005)
    assert found.users == pytest.approx([0.88, 0.73, 0.93, 0.96], abs=0.005)
    assert Z95 * found.users_error == pytest.approx([0.07, 0.10, 0.04, 0.02], abs=0.005)
    assert found.producers == pytest.approx([0.75, 0.85, 0.93, 0.96], abs=0.005)
    assert Z95 * found.producers_error[0] == pytest.approx(0.21, abs=0.005)
    # Deforestation, in pixels of 30 m.
    hectares = found.shares * pixels.sum() * 0.09
    assert hectares[0] == pytest.approx(21158, abs=1)
    assert Z95 * found.shares_error[0] * pixels.sum() * 0.09 == pytest.approx(6158, abs=1)


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(SIZES)
    rows = st.lists(st.integers(0, 40), min_size=size, max_size=size)
    matrix = np.array(draw(st.lists(rows, min_size=size, max_size=size)))
    matrix[:, 0] += 2
    areas = draw(st.lists(st.floats(0.01, 1e7), min_size=size, max_size=size))
    return matrix, np.array(areas)


@given(samples())
def test_shares_sum_to_one_and_to_the_mapped_areas(sample: tuple[np.ndarray, np.ndarray]) -> None:
    matrix, areas = sample
    found = estimate(matrix, areas)
    assert found.proportions.sum() == pytest.approx(1)
    assert found.shares.sum() == pytest.approx(1)
    assert found.proportions.sum(axis=1) == pytest.approx(areas / areas.sum())
    assert 0 <= found.overall[0] <= 1 + 1e-12
    known = ~np.isnan(found.producers)
    assert (known == (found.shares > 0)).all()
    assert (found.producers[known] <= 1 + 1e-12).all()


@given(samples(), st.floats(0.001, 1000))
def test_the_unit_of_area_changes_nothing(
    sample: tuple[np.ndarray, np.ndarray], factor: float
) -> None:
    matrix, areas = sample
    one, two = estimate(matrix, areas), estimate(matrix, factor * areas)
    for mine, theirs in zip(one, two, strict=True):
        assert np.asarray(mine) == pytest.approx(np.asarray(theirs), nan_ok=True)


@given(samples())
def test_a_sample_without_an_error_gives_the_mapped_areas_and_no_doubt(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    matrix, areas = sample
    found = estimate(np.diag(matrix.sum(axis=1)), areas)
    assert found.shares == pytest.approx(areas / areas.sum())
    assert found.overall == pytest.approx((1, 0))
    for error in (found.shares_error, found.users_error, found.producers_error):
        assert (error == 0).all()


@given(samples())
def test_strata_that_were_counted_whole_leave_no_doubt(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    matrix, _ = sample
    pixels = matrix.sum(axis=1)
    found = estimate(matrix, pixels.astype(float), pixels)
    assert found.shares == pytest.approx(matrix.sum(axis=0) / matrix.sum())
    assert (found.shares_error == 0).all()
    assert found.overall[1] == 0


def test_a_class_that_is_not_mapped_has_an_area_all_the_same() -> None:
    matrix = np.array([[8, 0, 2], [0, 0, 0], [1, 1, 8]])
    found = estimate(matrix, np.array([60.0, 0.0, 40.0]), np.array([6000, 0, 4000]))
    assert found.shares[1] == pytest.approx(0.04)
    assert found.producers[1] == 0
    assert np.isnan(found.users[1])
    assert np.isfinite(found.producers_error).all()


def test_strata_with_too_few_points_are_told() -> None:
    matrix = np.array([[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert thin_strata(matrix, np.array([9, 9, 1, 0])).tolist() == [False, True, False, False]
    assert thin_strata(matrix, np.array([9, 1, 1, 5])).tolist() == [False, False, False, True]


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # A land whose truth is known: share of each reference class in each mapped class.
    within = np.array([[0.85, 0.10, 0.05], [0.08, 0.80, 0.12], [0.15, 0.05, 0.80]])
    weights = np.array([0.1, 0.6, 0.3])
    truth, repeats, points = weights @ within, 3000, 200
    rng = np.random.default_rng(11)
    drawn = np.stack([rng.multinomial(points, row, repeats) for row in within], axis=1)
    held = np.zeros(4, np.int64)
    for matrix in drawn:
        found = estimate(matrix, weights)
        held[:3] += np.abs(found.shares - truth) <= Z95 * found.shares_error
        overall, error = found.overall
        held[3] += abs(overall - (weights * np.diag(within)).sum()) <= Z95 * error
    # Each of four counts of an exact 95 % interval lies within these bounds in 99.9 % of all runs.
    low, high = binom.interval(1 - 0.001 / 4, repeats, 0.95)
    assert ((low <= held) & (held <= high)).all(), held / repeats


def test_the_errors_are_those_of_repeated_samples() -> None:
    within = np.array([[0.9, 0.1], [0.2, 0.8]])
    weights, points = np.array([0.25, 0.75]), 100
    rng = np.random.default_rng(3)
    drawn = np.stack([rng.multinomial(points, row, 4000) for row in within], axis=1)
    found = [estimate(matrix, weights) for matrix in drawn]
    for name in ("users", "producers", "shares"):
        values = np.array([getattr(each, name) for each in found])
        errors = np.array([getattr(each, f"{name}_error") for each in found])
        # The standard deviation of 4000 draws is known to 1.1 %; the ratio is linearised, too.
        assert np.sqrt((errors**2).mean(axis=0)) == pytest.approx(values.std(axis=0), rel=0.05)
