import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.compositors.median import composite

VALUES = st.integers(1, 65535) | st.sampled_from([0, 0, 1, 2, 65534, 65535])


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 20)), draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    values = draw(st.lists(VALUES, min_size=size, max_size=size))
    return np.array(values, np.uint16).reshape(shape)


def expected(stack: np.ndarray) -> np.ndarray:
    out = np.zeros(stack.shape[1:], np.uint16)
    for place in np.ndindex(out.shape):
        seen = stack[:, *place][stack[:, *place] != 0].astype(np.float64)
        if seen.size:
            out[place] = np.floor(np.nanmedian(seen) + 0.5)
    return out


def median(stack: np.ndarray) -> np.ndarray:
    weights = np.ones(stack.shape, np.uint8)
    return np.asarray(composite(stack[:, np.newaxis], weights).pixels[0])


@given(stacks())
def test_it_is_the_median_of_numpy_rounded_half_up(stack: np.ndarray) -> None:
    assert np.array_equal(median(stack), expected(stack))


@given(
    st.integers(1, 20), st.sampled_from([0.0, 0.05, 0.35, 0.95]), st.booleans(), st.integers(0, 99)
)
def test_it_is_so_with_hidden_ground_missing_scenes_and_missing_bands(
    time: int, share: float, is_striped: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    stack = random.integers(1, 65536, (time, 2, 5, 7), dtype=np.uint16)
    stack[random.random(stack.shape) < share / 2] = 0
    weights = random.integers(1, 256, (time, 5, 7), dtype=np.uint8)
    hidden = random.random((time, 1, 1) if is_striped else weights.shape) < share
    weights[np.broadcast_to(hidden, weights.shape)] = 0
    seen = np.where(weights[:, np.newaxis] != 0, stack, 0)
    assert np.array_equal(composite(stack, weights).pixels, expected(seen))


@given(stacks(), st.integers(0, 9))
def test_a_scene_without_observations_does_not_matter(stack: np.ndarray, place: int) -> None:
    more = np.insert(stack, min(place, len(stack)), 0, axis=0)
    assert np.array_equal(median(more), median(stack))


@given(stacks())
def test_the_stack_is_left_as_it_was(stack: np.ndarray) -> None:
    before = stack.copy()
    median(stack)
    assert np.array_equal(stack, before)
