from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.compositors.median import comparators, composite

VALUES = st.integers(1, 65534) | st.sampled_from([0, 0, 1, 2, 65533, 65534])


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    values = draw(st.lists(VALUES, min_size=size, max_size=size))
    return np.array(values, np.uint16).reshape(shape)


def expected(stack: np.ndarray) -> np.ndarray:
    out = np.zeros(stack.shape[1:], np.uint16)
    for y, x in np.ndindex(out.shape):
        seen = stack[:, y, x][stack[:, y, x] != 0].astype(np.float64)
        if seen.size:
            out[y, x] = np.floor(np.nanmedian(seen) + 0.5)
    return out


@given(stacks())
def test_it_is_the_median_of_numpy_rounded_half_up(stack: np.ndarray) -> None:
    assert np.array_equal(composite(stack.copy()), expected(stack))


@given(stacks(), st.randoms(use_true_random=False))
def test_the_order_of_scenes_does_not_matter(stack: np.ndarray, random: Random) -> None:
    order = list(range(len(stack)))
    random.shuffle(order)
    assert np.array_equal(composite(stack[order]), composite(stack.copy()))


@given(stacks(), st.integers(0, 9))
def test_a_scene_without_observations_does_not_matter(stack: np.ndarray, place: int) -> None:
    more = np.insert(stack, min(place, len(stack)), 0, axis=0)
    assert np.array_equal(composite(more), composite(stack.copy()))


@given(stacks())
def test_an_observed_pixel_has_a_value_among_its_observations(stack: np.ndarray) -> None:
    found = composite(stack.copy())
    seen = (stack != 0).any(axis=0)
    assert np.array_equal(found != 0, seen)
    lowest = np.where(stack == 0, 65535, stack).min(axis=0)
    assert (found[seen] >= lowest[seen]).all()
    assert (found <= stack.max(axis=0)).all()


@pytest.mark.parametrize("size", [*range(1, 13), 16])
def test_the_network_sorts_every_row_of_zeros_and_ones(size: int) -> None:
    # The 0-1 principle (Knuth, TAOCP 3, 5.3.4): then it sorts everything.
    rows = np.array(list(product((0, 1), repeat=size)), np.uint8).T.copy()
    pairs = list(comparators(size))
    for low, high in pairs:
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    assert (np.diff(rows.astype(np.int8), axis=0) >= 0).all()
    assert all(0 <= low < high < size for low, high in pairs)


@given(st.integers(1, 120), st.randoms(use_true_random=False))
def test_the_network_sorts_stacks_of_any_length(size: int, random: Random) -> None:
    values = [random.randrange(50) for _ in range(size)]
    mine = values.copy()
    for low, high in comparators(size):
        mine[low], mine[high] = min(mine[low], mine[high]), max(mine[low], mine[high])
    assert mine == sorted(values)
