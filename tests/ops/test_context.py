"""Context features against NumPy."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.context import with_context


@given(st.integers(0, 1000), st.sampled_from([3, 5]))
def test_context_is_mean_and_spread_of_the_square_about_a_pixel(seed: int, side: int) -> None:
    planes = np.random.default_rng(seed).random((2, 11, 9)).astype(np.float32)
    found = with_context(planes, [side])
    reach = side // 2
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    squares = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    assert np.array_equal(found[:2], planes)
    assert np.allclose(found[2:4], squares.mean((-2, -1)), atol=1e-5)
    assert np.allclose(found[4:6], squares.std((-2, -1)), atol=1e-3)


@given(st.integers(0, 1000), st.sampled_from([3, 5]), st.floats(0, 1))
def test_what_is_not_valid_leaves_no_trace_in_the_squares(
    seed: int, side: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    planes = random.random((2, 11, 9)).astype(np.float32)
    is_valid = random.random(planes.shape) < share
    found = with_context(np.where(is_valid, planes, np.float32(-32768)), [side], is_valid)
    reach = side // 2
    padded = np.pad(
        np.where(is_valid, planes, np.nan), ((0, 0), (reach, reach), (reach, reach)), mode="reflect"
    )
    squares = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    known = np.isfinite(squares).any((-2, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # squares without any
        mean, spread = np.nanmean(squares, (-2, -1)), np.nanstd(squares, (-2, -1))
    assert np.allclose(found[2:4], np.where(known, mean, 0), atol=1e-4)
    assert np.allclose(found[4:6], np.where(known, spread, 0), atol=3e-3)
