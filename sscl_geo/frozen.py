"""Immutable, validated values that know a digest of their content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sscl_geo.errors import InvalidInputError, brief

FrozenT = TypeVar("FrozenT", bound="Frozen")


class Frozen(BaseModel):
    """A value: immutable, equal by content, without unknown fields, and hashable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the value's canonical JSON."""
        return digest(self.model_dump(mode="json"))

    def replace(self: FrozenT, **changes: object) -> FrozenT:
        """Return a validated copy with some fields changed."""
        return type(self).model_validate({**self.model_dump(), **changes})


def canonical_json(value: object) -> str:
    """Return JSON that is equal for equal values, whatever the order of keys.

    Floats are written as the shortest text that reads back the same; tuples become lists in their
    own order.

    Raises:
        ValueError: The value holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Hexadecimal SHA-256 of the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def read_json(content: str | bytes) -> object:
    """Return the content of a JSON document.

    Raises:
        ValueError: It is not JSON, or nested beyond any use.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse(kind: type[FrozenT], fields: object, source: str) -> FrozenT:
    """Return `fields` as a value of `kind`.

    Raises:
        InvalidInputError: A field is missing, unknown or breaks its rule; the message names
            `source`, the field and the rule.
    """
    if not isinstance(fields, Mapping):
        raise InvalidInputError(
            f"{source} must hold a mapping of fields, not a {type(fields).__name__}"
        )
    try:
        return kind.model_validate(dict(fields))
    except InvalidInputError as error:
        raise InvalidInputError(f"{source}: {error}") from None
    except ValidationError as error:
        raise InvalidInputError(f"{source}: {_told(error)}") from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Rules do sums with values that break another rule.
        raise InvalidInputError(f"{source}: {brief(error)}") from None


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    try:
        got = f" (got {first['input']!r:.80})"
    except (RecursionError, ValueError):
        got = ""
    return brief(ValueError(f"{' '.join(where.split())}: {first['msg']}{got}"))


def read_yaml(kind: type[FrozenT], path: Path) -> FrozenT:
    """Return the content of a YAML file as a value of `kind`.

    Keys that begin with `x-` only hold what the file's own anchors name.

    Raises:
        InvalidInputError: The file is absent, not YAML, or breaks a rule of `kind`.
    """
    try:
        fields = yaml.safe_load(path.read_text())
    except (OSError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML: {brief(error)}") from None
    if not isinstance(fields, dict):
        raise InvalidInputError(
            f"{path} must hold a mapping of fields, not a {type(fields).__name__}"
        )
    own = {key: value for key, value in fields.items() if not str(key).startswith("x-")}
    return parse(kind, own, str(path))
