import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.statistics import Moments, moments

NUMBERS = st.floats(-1e4, 1e4, width=32) | st.just(math.nan)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.data())
def test_pooled_pieces_tell_what_the_whole_tells(numbers: list[float], data: st.DataObject) -> None:
    values = np.array(numbers, np.float32)
    cut = data.draw(st.integers(0, len(numbers)))
    pooled = moments(values[:cut]) + moments(values[cut:])
    whole = moments(values)
    assert pooled.samples == whole.samples
    assert pooled.total == pytest.approx(whole.total, abs=1e-6)
    assert pooled.squares == pytest.approx(whole.squares, rel=1e-12)
    assert pooled + Moments() == pooled


@given(st.lists(NUMBERS, max_size=60))
def test_mean_and_spread_are_those_of_the_finite_values(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    finite = values[np.isfinite(values)].astype(np.float64)
    found = moments(values)
    assert found.samples == finite.size
    assert found.mean == pytest.approx(finite.mean() if finite.size else 0.0, abs=1e-6)
    assert found.spread > 0
    if finite.size and finite.std() > 0.1:
        assert found.spread == pytest.approx(finite.std(), rel=1e-4)


@pytest.mark.parametrize("values", [[], [math.nan], [3.0], [3.0, 3.0, math.inf]])
def test_what_does_not_vary_has_spread_one(values: list[float]) -> None:
    assert moments(np.array(values, np.float32)).spread == 1.0


def test_moments_pool_with_moments_only() -> None:
    with pytest.raises(TypeError):
        _ = Moments(1, 2.0, 4.0) + 1
