from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.sorting_network import comparators, ranked, selection


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


@given(st.integers(1, 40), st.data(), st.integers(0, 2**31))
def test_what_is_left_of_the_network_still_finds_the_wanted_ranks(
    size: int, data: st.DataObject, seed: int
) -> None:
    wanted = tuple(sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=3))))
    images = np.random.default_rng(seed).integers(0, 30, (size, 3, 4), dtype=np.uint16)
    before = images.copy()
    found = ranked(list(images), wanted)
    assert np.array_equal(np.stack(found), np.sort(images, axis=0)[list(wanted)])
    assert np.array_equal(images, before)


@pytest.mark.parametrize("size", [9, 12, 25])
def test_the_middle_needs_fewer_comparators_than_a_full_sort(size: int) -> None:
    middle = selection(size, ((size - 1) // 2, size // 2))
    halves = sum(c.keeps_smaller + c.keeps_larger for c in middle)
    assert halves < 2 * len(list(comparators(size)))
