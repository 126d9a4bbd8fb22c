"""Tables: paired differences against SciPy, and settings merged as trees."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sscl_geo.experiment.spec import merged
from sscl_geo.experiment.tables import difference

values = st.lists(st.floats(0, 100), min_size=8, max_size=8)


@given(values, values)
def test_the_interval_is_that_of_a_paired_t_test(one: list[float], other: list[float]) -> None:
    found = difference(one, other)
    gaps = np.subtract(one, other)
    assert np.isclose(found.mean, gaps.mean())
    if gaps.std() > 1e-9:
        low, high = stats.ttest_rel(one, other).confidence_interval(0.9)
        assert np.allclose((found.low, found.high), (low, high))


def test_settings_change_where_they_are_named_and_lists_are_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [5]}, "e": 4}) == {"a": {"b": 1, "c": [5]}, "d": 3, "e": 4}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}
