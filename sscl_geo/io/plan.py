"""What a store is made of, kept in the store, so that only the same command continues it."""

import json
from collections.abc import Mapping

from pydantic import Field, JsonValue

from sscl_geo import __version__
from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.frozen import Frozen, FrozenT, canonical_json, parse, read_json
from sscl_geo.io.location import AnyLocation, Location, location

LONGEST = 80
"""Characters of a value that a message shows."""

PLAN = "plan.json"
SOURCES = "sources.json"
"""Where a store's inputs stood when it was last made; they may move without changing it."""

CLAIM = "claim.json"
"""Who is making a store in a bucket; see `sscl_geo.io.claim`."""


class Plan(Frozen):
    """The identity of a store: equal plans make equal bytes.

    Attributes:
        kind: What the store is: `cube`, `chips`, `labels`, `map`, `change`, `encoder`, `model`,
            `product` or `experiment`.
        stage_version: Version of the stage that makes it.
        package_version: Version of this package that began it. It is part of the digest, yet any
            other may go on: what changes a store's bytes raises the stage's version.
        arguments: What the user asked for.
        content: What was derived from it once and is kept: grids, periods, digests of inputs.
    """

    kind: str
    stage_version: int
    package_version: str = __version__
    arguments: dict[str, JsonValue]
    content: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def text(self) -> bytes:
        """The content of its file."""
        return self.model_dump_json(indent=1).encode()

    @property
    def decisive(self) -> dict[str, JsonValue]:
        """What another plan must share to continue the store."""
        return {"kind": self.kind, "stage_version": self.stage_version, **self.arguments}

    def check(self, wanted: "Plan", place: AnyLocation | str) -> None:
        """Check that a plan that would continue this store is of its stage and arguments.

        Raises:
            PlanConflictError: A key differs; the message names it and both values.
        """
        mine, theirs = self.decisive, wanted.decisive
        for key in sorted({*mine, *theirs}):
            if canonical_json(mine.get(key)) != canonical_json(theirs.get(key)):
                where, there, here = _difference(key, mine.get(key), theirs.get(key))
                raise PlanConflictError(
                    f"{place} was made by another plan: {where} is {_short(there)} there and "
                    f"{_short(here)} here; choose another --out, or delete the old store"
                )


def read_plan(place: AnyLocation) -> Plan | None:
    """Return the plan of the store at a place; None where nothing stands or is being made.

    Raises:
        InvalidInputError: Something else stands there.
    """
    store = location(place)
    try:
        fields = read_json((store / PLAN).read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and _is_free(store):
            return None
        raise InvalidInputError(
            f"{store} exists and is not a store of this package; name one, or another path"
        ) from None
    return parse(Plan, fields, str(store / PLAN))


def asked_of(place: AnyLocation, kind: type[Frozen]) -> dict[str, JsonValue]:
    """Return what was asked for of a store, as far as a kind of request has fields for it."""
    plan = read_plan(place)
    known = {} if plan is None else plan.arguments
    return {name: value for name, value in known.items() if name in kind.model_fields}


def sources_of(place: AnyLocation) -> Mapping[str, JsonValue]:
    """Return what a store tells of its inputs.

    Raises:
        InvalidInputError: The store does not say it.
    """
    try:
        fields = read_json((location(place) / SOURCES).read_bytes())
    except (OSError, ValueError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidInputError(
            f"{place} does not say what it was made of ({SOURCES}); run the command that made it"
        )
    return fields


def request_of(place: AnyLocation, kind: type[FrozenT]) -> FrozenT:
    """Return the request that made a store: what was asked for, and the inputs that it tells.

    Raises:
        InvalidInputError: The store does not say it, or a field breaks its rule.
    """
    return parse(kind, {**asked_of(place, kind), **sources_of(place)}, str(place))


def articled(kind: str) -> str:
    """Return the name of a kind of store as a sentence has it: `a cube`, `an encoder`, `labels`."""
    return kind if kind.endswith("s") else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def read_sources(place: AnyLocation, *names: str) -> tuple[Location, ...]:
    """Return where named inputs of a store stood.

    Raises:
        InvalidInputError: The store does not say it.
    """
    told = sources_of(place)
    missing = [name for name in names if not isinstance(told.get(name), str)]
    if missing:
        raise InvalidInputError(
            f"{place / SOURCES} does not say {' or '.join(missing)}; run the command that made it"
        )
    return tuple(location(str(told[name])) for name in names)


def made_by_another(place: AnyLocation) -> PlanConflictError:
    """Return the error of a command that came second."""
    return PlanConflictError(
        f"{place}: another command is making this store; let it end, then run this one again"
    )


def _is_free(store: Location) -> bool:
    return not store.exists() or (not store.is_local and (store / CLAIM).exists())


def _difference(key: str, there: object, here: object) -> tuple[str, object, object]:
    """Return the key at which two values differ, and both; of long ones, the one within."""
    if max(len(json.dumps(value)) for value in (there, here)) <= LONGEST:
        return key, there, here
    if isinstance(there, dict) and isinstance(here, dict):
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                return _difference(f"{key}.{name}", there.get(name), here.get(name))
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for number, (one, two) in enumerate(zip(there, here, strict=True)):
            if one != two:
                return _difference(f"{key}[{number}]", one, two)
    return key, there, here


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
