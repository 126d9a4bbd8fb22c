"""Splits never let a place train and test, and subsets of labels are nested."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.spec import SplitSpec
from sscl_geo.experiment.splits import split_chips, subset
from sscl_geo.geo.chips import Chip

places = st.lists(st.sampled_from("abcdefghij"), min_size=20, max_size=60)


def chips_of(names: list[str]) -> list[Chip]:
    return [Chip(id=str(n), place=name, part="all") for n, name in enumerate(names)]


@given(places, st.integers(0, 50))
def test_no_place_is_on_both_sides(names: list[str], seed: int) -> None:
    spec = SplitSpec(test=0.3, validation=0.2, seed=seed)
    try:
        split = split_chips(chips_of(names), spec)
    except InvalidInputError:
        assert len({*names}) < 4
        return
    sides = [{names[number] for number in side} for side in split]
    assert sum(len(side) for side in split) == len(names)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@given(st.integers(0, 100), st.integers(1, 20), st.integers(1, 20))
def test_a_smaller_subset_is_the_beginning_of_a_larger_one(seed: int, one: int, two: int) -> None:
    train = tuple(range(100, 120))
    small, large = sorted((one, two))
    assert subset(train, large, seed)[:small] == subset(train, small, seed)
    assert sorted(subset(train, "all", seed)) == list(train)


def test_parts_of_the_makers_are_taken_as_they_are() -> None:
    chips = [Chip(id=str(n), place=part, part=part) for n, part in enumerate(["0", "validation"])]
    split = split_chips(chips, SplitSpec(by="part", test="validation", validation="none"))
    assert split == ((0,), (), (1,))
    with pytest.raises(InvalidInputError, match="'winter' is none of 0, validation"):
        split_chips(chips, SplitSpec(by="part", test="winter", validation="none"))
    more = [*chips, Chip(id="2", place="x", part="public"), Chip(id="3", place="0", part="copy")]
    alone = SplitSpec(by="part", train="0", test="validation", validation="none")
    assert split_chips(more, alone) == ((0,), (), (1,))
    with pytest.raises(InvalidInputError, match="the rest trains"):
        split_chips(chips, SplitSpec(train="0", test=0.5))
    shared = [chip.model_copy(update={"place": "p"}) for chip in chips]
    with pytest.raises(InvalidInputError, match="chips of one place are in two parts"):
        split_chips(shared, SplitSpec(by="part", test="validation", validation="none"))


def test_places_and_chips_may_be_named() -> None:
    chips = chips_of(["a", "b", "a", "c", "d", "d"])
    named = SplitSpec(test=("d",), validation=("a",), without=("5", "2"))
    assert split_chips(chips, named) == ((1, 3), (0,), (4,))
    drawn = split_chips(chips, SplitSpec(test=("d",), validation=0.5, seed=3))
    assert drawn.test == (4, 5)
    assert sum(len({chips[n].place for n in drawn[side]}) for side in (0, 1)) == 3
    for wrong, cause in (
        ({"test": ("x",)}, "x is no place of the chips"),
        ({"test": ("d",), "validation": ("d",)}, "d is no place of the chips, or tests already"),
        ({"test": ("d",), "without": ("9",)}, "`without` names 9, which is no chip"),
    ):
        with pytest.raises(InvalidInputError, match=cause):
            split_chips(chips, SplitSpec.model_validate(wrong))


def test_more_labels_than_chips_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="5 chips wanted, 3 train"):
        subset((1, 2, 3), 5, 0)
