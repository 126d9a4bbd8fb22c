"""What every compositor promises, whatever its method."""

from random import Random
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo import plugins
from sscl_geo.ops.observation import Composite

PACKAGE = "sscl_geo.ops.compositors"
NAMES = plugins.names(PACKAGE)

SUMS_OF_FLOATS = {"geomedian"}

every_compositor = pytest.mark.parametrize("name", NAMES)


class Observed(NamedTuple):
    stack: np.ndarray
    weights: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """The stack, 0 where the ground was hidden."""
        return np.where(self.weights[:, np.newaxis] != 0, self.stack, 0)


def method(name: str) -> ModuleType:
    return plugins.find(PACKAGE, name)


def composite(name: str, stack: np.ndarray, weights: np.ndarray) -> Composite:
    result: Composite = method(name).composite(stack, weights)
    return result


def counted(name: str, observed: Observed) -> np.ndarray:
    """What a method may use: one that takes bands jointly needs all of them."""
    stack = observed.counted
    if method(name).JOINT:
        return np.where((stack != 0).all(axis=1, keepdims=True), stack, 0)
    return stack


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    shape = tuple(draw(st.integers(1, most)) for most in (9, 4, 3, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    highest = draw(st.sampled_from([3, 12000, 65536]))
    stack = random.integers(1, highest, shape, dtype=np.uint16)
    stack[random.random(shape) < draw(st.sampled_from([0.0, 0.1]))] = 0
    weights = random.integers(1, 256, (shape[0], *shape[2:]), dtype=np.uint8)
    weights[random.random(weights.shape) < draw(st.sampled_from([0.0, 0.35, 0.9]))] = 0
    return Observed(stack, weights)


@every_compositor
@given(observed=observations(), seed=st.integers(0, 2**31))
def test_what_is_hidden_never_matters(name: str, observed: Observed, seed: int) -> None:
    rubbish = np.random.default_rng(seed).integers(0, 65536, observed.stack.shape, dtype=np.uint16)
    other = np.where(observed.weights[:, np.newaxis] == 0, rubbish, observed.stack)
    clean, dirty = composite(name, *observed), composite(name, other, observed.weights)
    assert np.array_equal(clean.pixels, dirty.pixels)
    assert (clean.chosen is None) == (dirty.chosen is None)
    if clean.chosen is not None and dirty.chosen is not None:
        assert np.array_equal(clean.chosen, dirty.chosen)


@every_compositor
@given(observed=observations(), random=st.randoms(use_true_random=False))
def test_the_order_of_time_does_not_matter(name: str, observed: Observed, random: Random) -> None:
    order = list(range(len(observed.stack)))
    random.shuffle(order)
    stack, weights = observed
    # A choice between equal weights goes to the first, so here all differ.
    rank = np.arange(1, len(weights) + 1, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    weights = np.where(weights != 0, rank, np.uint8(0))
    one = composite(name, stack, weights).pixels.astype(int)
    other = composite(name, stack[order], weights[order]).pixels.astype(int)
    assert np.abs(one - other).max() <= (1 if name in SUMS_OF_FLOATS else 0)


@every_compositor
@given(observed=observations())
def test_every_band_lies_between_its_lowest_and_highest_observation(
    name: str, observed: Observed
) -> None:
    stack, found = counted(name, observed), composite(name, *observed).pixels
    is_observed = (stack != 0).any(axis=0)
    assert np.array_equal(found != 0, is_observed)
    lowest = np.where(stack == 0, 65535, stack).min(axis=0)
    assert (found[is_observed] >= lowest[is_observed]).all()
    assert (found <= stack.max(axis=0)).all()


@every_compositor
@given(observed=observations())
def test_a_pixel_observed_once_is_that_observation(name: str, observed: Observed) -> None:
    stack = counted(name, observed)
    once = (stack != 0).sum(axis=0) == 1
    found = composite(name, *observed).pixels
    assert np.array_equal(found[once], stack.sum(axis=0)[once])


@every_compositor
@given(observed=observations(), spectrum=st.lists(st.integers(1, 65535), min_size=4, max_size=4))
def test_equal_observations_give_themselves(
    name: str, observed: Observed, spectrum: list[int]
) -> None:
    stack, weights = observed
    same = np.broadcast_to(
        np.array(spectrum, np.uint16)[np.newaxis, : stack.shape[1], np.newaxis, np.newaxis],
        stack.shape,
    )
    seen = weights.any(axis=0)
    assert np.array_equal(composite(name, same, weights).pixels, np.where(seen, same[0], 0))


@every_compositor
@given(observed=observations())
def test_hidden_ground_gives_nothing(name: str, observed: Observed) -> None:
    found = composite(name, observed.stack, np.zeros_like(observed.weights))
    assert not found.pixels.any()
    assert found.chosen is None or (found.chosen == -1).all()


@every_compositor
@given(observed=observations())
def test_a_chosen_observation_is_where_all_bands_come_from(name: str, observed: Observed) -> None:
    found = composite(name, *observed)
    if found.chosen is None:
        return
    for y, x in np.ndindex(found.chosen.shape):
        time = found.chosen[y, x]
        expected = observed.stack[time, :, y, x] if time >= 0 else 0
        assert (found.pixels[:, y, x] == expected).all()
        assert time == -1 or observed.weights[time, y, x] != 0


@every_compositor
@given(observed=observations(), data=st.data())
def test_a_block_gives_the_same_bits_as_the_whole(
    name: str, observed: Observed, data: st.DataObject
) -> None:
    stack, weights = observed
    y = data.draw(st.integers(0, stack.shape[2] - 1))
    x = data.draw(st.integers(0, stack.shape[3] - 1))
    whole = composite(name, *observed).pixels
    for block in np.s_[:y, :x], np.s_[y:, x:], np.s_[y : y + 1, x : x + 1]:
        part = composite(name, stack[:, :, *block], weights[:, *block]).pixels
        assert np.array_equal(part, whole[:, *block])


@every_compositor
def test_blocks_larger_than_a_methods_own_strips_give_the_same_bits(name: str) -> None:
    random = np.random.default_rng(5)
    stack = random.integers(1, 12000, (5, 2, 3, 34000), dtype=np.uint16)
    weights = random.integers(0, 3, (5, 3, 34000), dtype=np.uint8)
    whole = composite(name, stack, weights).pixels
    for block in np.s_[1:, 16380:16390], np.s_[:, 32760:], np.s_[2:, 4090:4100]:
        part = composite(name, stack[:, :, *block], weights[:, *block]).pixels
        assert np.array_equal(part, whole[:, *block])


@every_compositor
@given(observed=observations())
def test_only_a_method_that_says_so_needs_all_bands_at_once(name: str, observed: Observed) -> None:
    if method(name).JOINT:
        return
    stack, weights = observed
    whole = composite(name, stack, weights).pixels
    for band in range(stack.shape[1]):
        alone = composite(name, stack[:, band : band + 1], weights).pixels[0]
        assert np.array_equal(alone, whole[band])
