import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.observation import strips


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300))
def test_strips_cover_every_pixel_once_and_are_not_too_large(
    height: int, width: int, most_px: int
) -> None:
    seen = np.zeros((height, width), np.uint8)
    for strip in strips(height, width, most_px):
        assert 0 < seen[strip].size <= most_px
        seen[strip] += 1
    assert (seen == 1).all()
