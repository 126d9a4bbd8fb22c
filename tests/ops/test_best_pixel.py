import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.compositors.best_pixel import composite


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9))
def test_it_is_the_first_whole_observation_of_the_highest_weight(
    observations: list[tuple[int, bool]],
) -> None:
    time = len(observations)
    stack = np.arange(1, 2 * time + 1, dtype=np.uint16).reshape(time, 2, 1, 1)
    for place, (_, is_whole) in enumerate(observations):
        stack[place, 1] *= is_whole
    weights = np.array([weight for weight, _ in observations], np.uint8).reshape(time, 1, 1)
    allowed = [weight if is_whole else 0 for weight, is_whole in observations]
    first = allowed.index(max(allowed)) if any(allowed) else -1
    found = composite(stack, weights)
    assert found.chosen is not None
    assert found.chosen.item() == first
    assert found.pixels.ravel().tolist() == (
        stack[first].ravel().tolist() if first >= 0 else [0, 0]
    )
