import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.reliability import binned, calibration_error, counted, reliability

FULL = 200


@given(st.lists(st.tuples(st.integers(0, FULL), st.booleans()), min_size=1, max_size=60))
def test_the_diagram_is_that_of_its_definition(pixels: list[tuple[int, bool]]) -> None:
    levels, right = (np.array(column) for column in zip(*pixels, strict=True))
    found = reliability(counted(levels.astype(np.uint8), right), FULL)
    shares = levels / FULL
    expected = 0.0
    for number in range(15):
        inside = np.minimum(levels * 15 // FULL, 14) == number
        if inside.any():
            expected += inside.mean() * abs(shares[inside].mean() - right[inside].mean())
    assert found.error == pytest.approx(expected, abs=1e-9)
    assert sum(one.pixels for one in found.bins) == len(pixels)


@given(st.lists(st.tuples(st.integers(0, FULL), st.booleans()), min_size=1, max_size=60))
def test_counted_levels_have_the_error_of_their_pixels_one_by_one(
    pixels: list[tuple[int, bool]],
) -> None:
    levels, right = (np.array(column) for column in zip(*pixels, strict=True))
    alone = calibration_error(binned(levels / FULL, np.ones(len(levels)), right))
    found = reliability(counted(levels.astype(np.uint8), right), FULL)
    assert found.error == pytest.approx(alone, abs=1e-12)


def test_a_map_that_is_as_right_as_it_is_sure_has_no_error() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(60, FULL + 1, 200_000).astype(np.uint8)
    is_right = random.random(len(levels)) < levels / FULL
    assert reliability(counted(levels, is_right), FULL).error < 0.01
    assert reliability(counted(levels, ~is_right), FULL).error > 0.2
