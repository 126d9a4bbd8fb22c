import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, canonical_json, digest, parse, read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.io.profile import Profile

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Place(Frozen):
    """A value with one field of each kind."""

    name: str
    height: float = 0.0
    corner: tuple[float, float] = (0.0, 0.0)
    seen: datetime | None = None


PLACES = st.builds(
    Place,
    name=st.text(),
    height=st.floats(allow_nan=False, allow_infinity=False),
    corner=st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    seen=st.none() | st.datetimes(timezones=st.just(UTC)),
)


def reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(PLAIN)
def test_the_order_of_keys_does_not_show_in_canonical_json(value: object) -> None:
    assert canonical_json(reordered(value)) == canonical_json(value)
    assert digest(reordered(value)) == digest(value)


@given(PLAIN)
def test_canonical_json_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (1 / 3, "0.3333333333333333"),
        ((2, 1), "[2,1]"),
        ({"b": (None,), "a": 1.0}, '{"a":1.0,"b":[null]}'),
    ],
)
def test_there_is_one_way_to_write_a_value(value: object, text: str) -> None:
    assert canonical_json(value) == text
    assert digest(value) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"deep": [number]})
    with pytest.raises(ValidationError):
        Place(name="nowhere", height=number)


@given(PLACES)
def test_a_copy_built_elsewhere_is_the_same_value(place: Place) -> None:
    fields = json.loads(place.model_dump_json())
    elsewhere = Place.model_validate({key: fields[key] for key in reversed(fields)})
    assert elsewhere == place
    assert hash(elsewhere) == hash(place)
    assert elsewhere.digest == place.digest


@given(PLACES, st.text(min_size=1))
def test_another_content_is_another_value(place: Place, suffix: str) -> None:
    other = place.replace(name=place.name + suffix)
    assert other != place
    assert other.digest != place.digest
    assert other.replace(name=place.name) == place


def test_a_value_cannot_be_changed() -> None:
    place = Place(name="here")
    with pytest.raises(ValidationError, match="frozen"):
        place.name = "there"  # type: ignore[misc]


def test_unknown_fields_and_wrong_changes_are_refused() -> None:
    with pytest.raises(ValidationError, match="nmae"):
        Place.model_validate({"name": "here", "nmae": "there"})
    with pytest.raises(ValidationError, match="height"):
        Place(name="here").replace(height="high")


def test_an_error_of_parse_names_source_field_and_value() -> None:
    with pytest.raises(InvalidInputError, match=r"^the form: height: .*\(got 'high'\)$"):
        parse(Place, {"name": "here", "height": "high"}, "the form")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [1, 2", "cannot be read as YAML"),
        ("- a\n- b\n", "not a list"),
        ("", "not a NoneType"),
        ("height: 3\n", "name"),
        ("name: here\nheight: high\n", "height"),
        ("name: here\nheigth: 1\n", "heigth"),
        ("name: here\ncorner: [1, .nan]\n", r"corner\.1"),
        ("name: here\nheight: .inf\n", "height"),
        ("name: here\nseen: 2024-13-45\n", "cannot be read as YAML"),
    ],
)
def test_a_bad_yaml_file_is_refused_with_its_name_and_field(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "place.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=rf"place\.yaml.*{told}") as refusal:
        read_yaml(Place, path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("color", "value", "rule"), [("red", 1, "#rrggbb"), ("#ff0000", 300, r"1\.\.255")]
)
def test_a_file_that_breaks_a_rule_of_ours_is_named_too(
    tmp_path: Path, color: str, value: int, rule: str
) -> None:
    path = tmp_path / "legend.yaml"
    path.write_text(
        f"name: mine\nclasses:\n  - {{value: {value}, name: fire, color: '{color}'}}\n"
        "  - {value: 2, name: ice, color: '#0000ff'}\n"
    )
    with pytest.raises(InvalidInputError, match=rule) as refusal:
        read_yaml(Legend, path)
    assert "legend.yaml" in str(refusal.value)


def test_an_absent_or_binary_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"absent\.yaml cannot be read"):
        read_yaml(Profile, tmp_path / "absent.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InvalidInputError, match=r"picture\.yaml cannot be read"):
        read_yaml(Profile, tmp_path / "picture.yaml")
