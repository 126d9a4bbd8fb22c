from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sscl_geo.ops.dates import chosen_days, middle_days

VALID = st.integers(1, 9).flatmap(lambda time: arrays(np.bool_, (time, 3, 4)))


def days(time: int) -> Sequence[int]:
    return tuple(range(40, 40 + 7 * time, 7))


@given(VALID)
def test_the_middle_day_is_that_of_the_middle_observation(is_valid: np.ndarray) -> None:
    numbers = np.array(days(len(is_valid)))
    found = middle_days(is_valid, days(len(is_valid)))
    for y, x in np.ndindex(3, 4):
        seen = numbers[is_valid[:, y, x]]
        assert found[y, x] == (seen[(len(seen) - 1) // 2] if len(seen) else 0)


@given(arrays(np.int16, (3, 4), elements=st.integers(-1, 4)))
def test_a_chosen_day_is_that_of_its_observation_and_none_is_0(chosen: np.ndarray) -> None:
    found = chosen_days(chosen, days(5))
    for index, value in np.ndenumerate(chosen):
        assert found[index] == (0 if value < 0 else days(5)[value])
