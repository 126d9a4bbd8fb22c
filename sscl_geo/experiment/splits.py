"""Who trains and who tests: by place or part, and nested subsets of labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.spec import LabelCount, SplitSpec
from sscl_geo.geo.chips import Chip

_LEFT_OUT = 3
"""Neither trains, nor validates, nor tests."""


class Split(NamedTuple):
    """Numbers of chips that train, validate and test."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def split_chips(chips: Sequence[Chip], spec: SplitSpec) -> Split:
    """Return who trains, validates and tests; no place is in two of them.

    Raises:
        InvalidInputError: Train or test would be empty, or parts share a place.
    """
    unknown = sorted(set(spec.without) - {chip.id for chip in chips})
    if unknown:
        raise InvalidInputError(f"split: `without` names {', '.join(unknown)}, which is no chip")
    told = _by_place(chips, spec) if spec.by == "place" else _by_part(chips, spec)
    absent = set(spec.without)
    kinds = [_LEFT_OUT if c.id in absent else kind for c, kind in zip(chips, told, strict=True)]
    split = Split(
        *(tuple(n for n, kind in enumerate(kinds) if kind == wanted) for wanted in range(3))
    )
    if not split.train or not split.test:
        raise InvalidInputError(
            f"split: {len(split.train)} chips would train and {len(split.test)} test; change `test`"
        )
    return split


def _by_place(chips: Sequence[Chip], spec: SplitSpec) -> list[int]:
    if isinstance(spec.test, str) or isinstance(spec.validation, str) or spec.train is not None:
        raise InvalidInputError(
            "split by place: `test` and `validation` are shares of places or their names, and the "
            "rest trains"
        )
    places = sorted({chip.place for chip in chips})
    order = [places[n] for n in np.random.default_rng(spec.seed).permutation(len(places))]
    tests = _places(spec.test, order, len(places))
    left = [place for place in order if place not in tests]
    validations = _places(spec.validation, left, len(places))
    return [2 if c.place in tests else 1 if c.place in validations else 0 for c in chips]


def _places(wanted: float | tuple[str, ...], order: Sequence[str], count: int) -> set[str]:
    """Return the places that are named, or the first of an order that are a share of so many."""
    if not isinstance(wanted, tuple):
        return {*order[: round(wanted * count)]}
    unknown = sorted({*wanted} - {*order})
    if unknown:
        raise InvalidInputError(
            f"split by place: {', '.join(unknown)} is no place of the chips, or tests already"
        )
    return {*wanted}


def _by_part(chips: Sequence[Chip], spec: SplitSpec) -> list[int]:
    known = {chip.part for chip in chips}
    for name in (spec.test, spec.validation, spec.train):
        if name not in known and name not in {"none", None}:
            raise InvalidInputError(
                f"split by part: {name!r} is none of {', '.join(sorted(known))}; `none` takes none"
            )
    rest = 0 if spec.train is None else _LEFT_OUT
    kind = {spec.train: 0, spec.validation: 1, spec.test: 2}
    kinds = [kind.get(chip.part, rest) for chip in chips]
    sides = {(chip.place, one) for chip, one in zip(chips, kinds, strict=True) if one != _LEFT_OUT}
    if len(sides) > len({place for place, _ in sides}):
        raise InvalidInputError(
            "split by part: chips of one place are in two parts; split by place"
        )
    return kinds


def subset(train: Sequence[int], count: LabelCount, seed: int) -> tuple[int, ...]:
    """Return the labelled chips of a seed; a smaller subset is the beginning of a larger one.

    Raises:
        InvalidInputError: There are fewer chips than that.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    if isinstance(count, str):
        return tuple(train[index] for index in order)
    if count > len(train):
        raise InvalidInputError(f"labels: {count} chips wanted, {len(train)} train")
    return tuple(train[index] for index in order[:count])
