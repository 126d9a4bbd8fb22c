"""Context features against NumPy."""

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
