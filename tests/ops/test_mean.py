from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.compositors.mean import composite


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=300))
def test_it_is_the_exact_mean_rounded_half_up(values: list[int]) -> None:
    stack = np.array(values, np.uint16).reshape(-1, 1, 1, 1)
    seen = [value for value in values if value]
    exact = floor(Fraction(sum(seen), len(seen)) + Fraction(1, 2)) if seen else 0
    found = composite(stack, np.full((len(values), 1, 1), 7, np.uint8))
    assert found.pixels.item() == exact
