"""Chips that are cut from one ground are found, and others are not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sscl_geo.ops.overlap import RUN, overlapping, places_of

SIDE, GROUND = 48, 160
corners = st.tuples(st.integers(0, GROUND - SIDE), st.integers(0, GROUND - SIDE))


def ground(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return elevation in metres, and classes, of some land."""
    rng = np.random.default_rng(seed)
    relief = gaussian_filter(rng.normal(size=(GROUND, GROUND)), 3)
    elevation = np.rint(400 * relief).astype(np.int64)
    return elevation, np.digitize(gaussian_filter(relief, 2), [-0.02, 0.02])


def cut(land: tuple[np.ndarray, np.ndarray], corner: tuple[int, int]) -> list[np.ndarray]:
    y, x = corner
    return [layer[y : y + SIDE, x : x + SIDE] for layer in land]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.lists(corners, min_size=2, max_size=5))
def test_chips_that_overlap_enough_are_found_and_no_others(
    seed: int, places: list[tuple[int, int]]
) -> None:
    chips = [cut(ground(seed), one) for one in places] + [cut(ground(seed + 100), places[0])]
    layers = [np.stack([chip[number] for chip in chips]) for number in range(2)]
    found = overlapping(layers)
    for one in range(len(chips)):
        for two in range(one + 1, len(chips)):
            is_foreign = two == len(places)
            down, across = (
                (0, 0)
                if is_foreign
                else (
                    SIDE - abs(places[one][0] - places[two][0]),
                    SIDE - abs(places[one][1] - places[two][1]),
                )
            )
            if down >= 16 and across >= RUN + 8:
                assert (one, two) in found
            if is_foreign or down <= 0 or across < RUN:
                assert (one, two) not in found


def test_flat_ground_is_no_evidence() -> None:
    flat = np.zeros((3, SIDE, SIDE), np.int64)
    slope = np.broadcast_to(np.arange(SIDE) // 6, flat.shape)
    assert overlapping([flat, flat]) == []
    assert overlapping([slope, flat]) == []


def test_places_that_share_ground_directly_or_by_others_are_one() -> None:
    land, other = ground(1), ground(2)
    chips = [
        cut(other, (0, 0)), cut(land, (0, 0)), cut(land, (10, 10)), cut(land, (60, 10)),
        cut(land, (20, 14)), cut(other, (100, 100)),
    ]  # fmt: skip
    layers = [np.stack([chip[number] for chip in chips]) for number in range(2)]
    # The first and the last have one name, which nothing else shows.
    names = ["a", "b", "c", "d", "e", "a"]
    assert (3, 4) in overlapping(layers)
    assert places_of(layers, names) == ["a", "b", "b", "b", "b", "a"]
    assert places_of(layers[:1], names) == ["a", "b", "b", "b", "b", "a"]
