import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.quality import QualitySpec, date_score, distance_score, quality

NEAR = QualitySpec(far_m=200)


@st.composite
def seen(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(1, 3)), draw(st.integers(5, 40)), draw(st.integers(5, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    return random.random(shape) >= draw(st.sampled_from([0.0, 0.003, 0.5, 1.0]))


@given(seen())
def test_an_observation_weighs_something_where_the_ground_was_seen(is_seen: np.ndarray) -> None:
    days = [40.0 * time for time in range(len(is_seen))]
    assert np.array_equal(quality(is_seen, days, NEAR) != 0, is_seen)


def test_the_best_is_far_from_clouds_in_the_middle_of_the_period() -> None:
    is_seen = np.ones((3, 8, 200), np.bool_)
    is_seen[0, :, 0] = False
    weights = quality(is_seen, [0, 0, 45], QualitySpec())
    assert (np.diff(weights[0, 0].astype(int)) >= 0).all()
    assert weights[0, 0, 1] < 8
    assert weights[0, 0, -1] == weights[1].min() == weights[1].max() > 250
    assert 1 < weights[2].max() < weights[1].min()


@given(seen(), st.data())
def test_a_block_with_its_margin_weighs_as_the_whole(
    is_seen: np.ndarray, data: st.DataObject
) -> None:
    days = [7.0] * len(is_seen)
    whole = quality(is_seen, days, NEAR)
    y, x = (data.draw(st.integers(0, size - 1)) for size in is_seen.shape[1:])
    top, left = max(y - NEAR.reach, 0), max(x - NEAR.reach, 0)
    part = quality(is_seen[:, top:, left:], days, NEAR)
    assert np.array_equal(part[:, y - top :, x - left :], whole[:, y:, x:])


def test_the_sigmoid_of_white_et_al() -> None:
    is_seen = np.ones((1, 120), np.bool_)
    is_seen[0, 0] = False
    pixels = np.minimum(np.arange(120), 50)
    white = 1 / (1 + np.exp(-0.2 * (pixels - (50 - 0) / 2)))
    found = distance_score(is_seen, QualitySpec(gsd_m=30))[0]
    np.testing.assert_allclose(found, white, rtol=1e-5)


@given(st.floats(0, 400), st.floats(0, 400))
def test_a_date_nearer_to_the_middle_scores_at_least_as_high(one: float, other: float) -> None:
    near, far = sorted((one, other))
    spec = QualitySpec()
    assert date_score(near, spec) >= date_score(-far, spec)
    assert date_score(-near, spec) == pytest.approx(date_score(near, spec))
