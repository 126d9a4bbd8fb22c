"""An experiment: a matrix of systems, numbers of labels and seeds, as a YAML file says it."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, JsonValue, model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.classical import VERSION as CLASSICAL_VERSION
from sscl_geo.experiment.spec import LabelCount, SplitSpec, System, TableSpec
from sscl_geo.frozen import Frozen, digest, parse
from sscl_geo.learn.init import named, settled
from sscl_geo.learn.study import Study
from sscl_geo.stages.finetune import VERSION as FINETUNE_VERSION
from sscl_geo.stages.pretrain import VERSION as PRETRAIN_VERSION

NAME = r"\w[\w.-]*"
"""What the name of a system looks like."""

DRAWS = 1000
"""Seeds of one draw of a system are this far from those of the next."""


class Experiment(Frozen):
    """A matrix of systems, numbers of labels and seeds.

    Attributes:
        title: Heading of its tables.
        split: Which chips train and test.
        labels: Numbers of labelled chips; subsets of a seed are nested, and the same for all.
        seeds: Number of seeds; a seed decides subset, initial weights and draws, alike for all.
        encoder_seeds: Number of pretrainings of a system; seed s takes number s modulo this. With
            fewer than seeds, intervals leave out a part of what pretrainings differ by.
        study: The numbers that all networks share.
        systems: The systems, by name.
        tables: Tables of others that it does again, beside what they report.
        pairs: Pairs of systems, `[ours, other]`, that are compared seed by seed.
        savings: Pairs of systems of which ours, with some labels, is compared seed by seed with the
            other with the last of its numbers of labels.
    """

    title: str
    split: SplitSpec
    labels: tuple[LabelCount, ...]
    seeds: int = Field(default=5, ge=1)
    encoder_seeds: int = Field(default=1, ge=1)
    study: dict[str, JsonValue]
    systems: dict[str, System]
    tables: tuple[TableSpec, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    savings: tuple[tuple[str, str], ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> "Experiment":
        bad = [name for name in self.systems if not re.fullmatch(NAME, name)]
        if bad:
            raise InvalidInputError(
                f"system {bad[0]!r}: folders have its name; take letters, digits, _, - and ."
            )
        for counts in (self.labels, *(system.labels or () for system in self.systems.values())):
            ordered = sorted({*counts}, key=lambda one: math.inf if one == "all" else one)
            if ordered != [*counts]:
                raise InvalidInputError(
                    f"labels {', '.join(map(str, counts))}: name each once, the fewest first and "
                    "`all` last"
                )
        return self

    @model_validator(mode="after")
    def _check(self) -> "Experiment":
        named = {name for pair in (*self.pairs, *self.savings) for name in pair}
        named |= {name for table in self.tables for name in table.systems}
        named |= {s.encoder_of for s in self.systems.values() if s.encoder_of is not None}
        named |= {name for system in self.systems.values() for name in system.ensemble}
        unknown = named - set(self.systems)
        if unknown:
            raise InvalidInputError(f"unknown systems {', '.join(sorted(unknown))}")
        for name, system in self.systems.items():
            self._check_chain(name)
            beyond = set(self.labels_of(name)) - set(self.labels)
            if beyond:
                raise InvalidInputError(
                    f"system {name}: labels {', '.join(map(str, beyond))} are not the experiment's"
                )
            self._check_ensemble(name)
            if system.encoder_of is not None and self.encoder_system(name) is None:
                raise InvalidInputError(
                    f"system {name}: {system.encoder_of} is not pretrained, so there is no encoder"
                )
            if system.of is not None and "pretexts" in system.study:
                raise InvalidInputError(
                    f"system {name}: takes the encoder of {system.of}; leave out its pretexts"
                )
            study, other = self.study_of(name), self.systems[name].of
            if study.finetune.patience is not None:
                raise InvalidInputError(
                    f"system {name}: patience takes labels that no row tells of; leave it out"
                )
            if other is not None and _network(study) != _network(self.study_of(other)):
                raise InvalidInputError(
                    f"system {name}: takes the encoder of {other}, and so its periods, inputs, "
                    "reflectance, features, backbone and masks; give it the same"
                )
        return self

    @model_validator(mode="after")
    def _check_tables(self) -> "Experiment":
        shown = {name for table in self.tables for name in table.systems}
        untold = [n for n, s in self.systems.items() if s.published and n not in shown]
        if any(self.labels_of(name) for name in untold):
            raise InvalidInputError(
                f"`published` of {', '.join(untold)}: is shown by no table; name them in `tables`"
            )
        return self

    @model_validator(mode="after")
    def _check_savings(self) -> "Experiment":
        for _, other in self.savings:
            if not self.labels_of(other):
                raise InvalidInputError(f"savings: {other} is tried with no labels; name some")
        return self

    def _check_ensemble(self, name: str) -> None:
        for member in self.systems[name].ensemble:
            if self.systems[member].ensemble:
                raise InvalidInputError(
                    f"system {name}: {member} is an ensemble itself; name its members"
                )
            lacking = set(self.labels_of(name)) - set(self.labels_of(member))
            if lacking or self.seeds_of(name) > self.seeds_of(member):
                raise InvalidInputError(
                    f"system {name}: {member} is not tried with all its labels and seeds; give it "
                    "the same"
                )

    def _check_chain(self, name: str) -> None:
        seen, following = {name}, self.systems[name].encoder_of
        while following is not None:
            if following in seen:
                raise InvalidInputError(f"system {name}: takes its encoder from itself")
            seen.add(following)
            following = self.systems[following].encoder_of

    def labels_of(self, name: str) -> tuple[LabelCount, ...]:
        """Return the numbers of labelled chips that a system is tried with."""
        own = self.systems[name].labels
        return self.labels if own is None else own

    def seeds_of(self, name: str) -> int:
        """Return the number of seeds that a system is tried with."""
        own = self.systems[name].seeds
        return self.seeds if own is None else own

    def study_of(self, name: str, seed: int = 0) -> Study:
        """Return the study of a system.

        Raises:
            InvalidInputError: A field breaks its rule.
        """
        system = self.systems[name]
        own = merged(self.study, system.study)
        return parse(Study, {**own, "seed": seed + DRAWS * system.draw}, f"study of {name}")

    def part(self, systems: Sequence[str] = (), seeds: int | None = None) -> "Experiment":
        """Return the matrix of only some systems and the first seeds; its cells stay the same.

        Args:
            systems: Names of systems; all if none is given. Members of an ensemble among them stay
                too, and those that lend them an encoder, these without cells of their own.
            seeds: Most seeds of a system; all if None.

        Raises:
            InvalidInputError: A system is unknown, or there are fewer than one seed.
        """
        unknown = set(systems) - set(self.systems)
        if unknown or (seeds is not None and seeds < 1):
            raise InvalidInputError(
                f"part of systems {', '.join(systems) or 'all'} and {seeds} seeds: name systems of "
                f"the experiment ({', '.join(self.systems)}), and one seed or more"
            )
        tried = set(systems or self.systems)
        tried |= {member for name in tried for member in self.systems[name].ensemble}
        lenders = {lender for name in tried for lender in self._chain(name)} - tried
        kept = {
            name: system.replace(
                seeds=min(self.seeds_of(name), seeds or self.seeds_of(name)),
                **({"labels": ()} if name in lenders else {}),
            )
            for name, system in self.systems.items()
            if name in tried | lenders
        }
        pairs, savings = (
            tuple(pair for pair in compared if tried.issuperset(pair))
            for compared in (self.pairs, self.savings)
        )
        tables = [
            table.replace(systems=rows)
            for table in self.tables
            if (rows := tuple(name for name in table.systems if name in tried))
        ]
        return self.replace(systems=kept, tables=tuple(tables), pairs=pairs, savings=savings)

    def _chain(self, name: str) -> Iterator[str]:
        """Yield the systems through which a system has its encoder."""
        following = self.systems[name].encoder_of
        while following is not None:
            yield following
            following = self.systems[following].encoder_of

    @property
    def members(self) -> frozenset[str]:
        """Every system that is a member of an ensemble."""
        return frozenset(name for system in self.systems.values() for name in system.ensemble)

    def version(self, name: str) -> str:
        """Return a digest of everything that decides what a system finds, but labels and seed."""
        system = self.systems[name]
        if system.ensemble:
            return digest([self.version(member) for member in system.ensemble])[:8]
        own = system.model_dump(mode="json", include={"forest", "head"})
        own |= system.model_dump(mode="json", include=_JUDGING, exclude_defaults=True)
        pretrained = self.encoder_system(name)
        encoder = None
        if pretrained is not None:
            encoder = [self.encoder_version(pretrained), self.encoder_seeds]
        study = self.study_of(name)
        if system.is_network:
            return digest([FINETUNE_VERSION, own, _told(study), encoder])[:8]
        # A forest sees the bands that the networks see.
        inputs = [*study.inputs] if system.forest is not None else None
        return digest([CLASSICAL_VERSION, own, inputs, encoder])[:8]

    def encoder_version(self, name: str) -> str:
        """Return a digest of everything that decides a system's pretraining, but the seed."""
        study = _told(self.study_of(name))
        del study["finetune"]
        return digest([PRETRAIN_VERSION, study])[:8]

    def encoder_system(self, name: str) -> str | None:
        """Return the system whose pretraining a system uses; None for one without."""
        other = self.systems[name].encoder_of
        if other is not None:
            return self.encoder_system(other)
        has_own = self.systems[name].is_network and bool(self.study_of(name).pretexts)
        return name if has_own else None


_JUDGING = {"calibrated", "judged_without"}
"""Fields of a system that change what it is found to know, where they are given."""


def _told(study: Study) -> dict[str, JsonValue]:
    """Return a study as data, with the digests of the files that it names."""
    return named(settled(study)).model_dump(mode="json")


def _network(study: Study) -> tuple[object, ...]:
    return (
        study.periods,
        study.inputs,
        study.reflectance,
        study.features,
        study.backbone,
        study.has_masks,
    )


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree of settings with some of them changed; lists are replaced whole."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        is_deeper = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if is_deeper else value  # type: ignore[arg-type]
    return result
