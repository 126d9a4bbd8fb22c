import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.power import PowerMean


@st.composite
def scenes(draw: st.DrawFn) -> np.ndarray:
    count, seed = draw(st.integers(0, 8)), draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    stack = random.gamma(2.0, 0.05, (count, 3, 4)).astype(np.float32)
    stack[random.random(stack.shape) < 0.4] = np.nan
    return stack


def averaged(stack: np.ndarray) -> PowerMean:
    running = PowerMean(3, 4)
    for scene in stack:
        running.add(scene)
    return running


@given(scenes())
def test_it_is_the_mean_of_what_was_seen(stack: np.ndarray) -> None:
    running = averaged(stack)
    seen = ~np.isnan(stack)
    assert np.array_equal(running.count, seen.sum(axis=0))
    for y, x in np.ndindex(3, 4):
        values = stack[:, y, x][seen[:, y, x]].astype(np.float64)
        if values.size:
            np.testing.assert_allclose(running.mean[y, x], values.mean(), rtol=1e-6)
        else:
            assert np.isnan(running.mean[y, x])


@given(scenes())
def test_the_order_of_scenes_hardly_matters(stack: np.ndarray) -> None:
    forward, backward = averaged(stack), averaged(stack[::-1])
    assert np.array_equal(forward.count, backward.count)
    np.testing.assert_allclose(forward.mean, backward.mean, rtol=1e-6)


@given(scenes())
def test_a_scene_that_saw_nothing_changes_nothing(stack: np.ndarray) -> None:
    running = averaged(stack)
    before = running.mean.copy()
    running.add(np.full((3, 4), np.nan, np.float32))
    assert np.array_equal(running.mean, before, equal_nan=True)


def test_more_scenes_than_a_byte_counts_still_give_their_mean() -> None:
    running = PowerMean(1, 1)
    for _ in range(600):
        running.add(np.full((1, 1), 0.25, np.float32))
    assert running.mean.tolist() == [[0.25]]
    assert running.count.tolist() == [[255]]
