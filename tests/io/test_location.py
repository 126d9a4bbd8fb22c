import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError, StoreError
from sscl_geo.frozen import Frozen
from sscl_geo.io.location import Location, local_path, location

NAMES = st.from_regex(r"[\w.=+-]+", fullmatch=True).filter(lambda name: name.strip(".") != "")
KEYS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
BUCKETS = st.from_regex(r"(s3|gs)://[a-z0-9][a-z0-9.-]{2,20}", fullmatch=True)
TEXTS = st.one_of(
    KEYS,
    KEYS.map(lambda key: f"/{key}"),
    st.tuples(BUCKETS, KEYS).map("/".join),
)


class Holder(Frozen):
    where: Location


@given(TEXTS, NAMES)
def test_a_location_is_its_text(text: str, name: str) -> None:
    where = location(text)
    assert str(where) == text
    assert location(str(where)) == location(where) == pickle.loads(pickle.dumps(where)) == where  # noqa: S301
    holder = Holder(where=text)
    assert holder.where == where
    assert Holder.model_validate_json(holder.model_dump_json()) == holder
    assert holder.model_dump(mode="json") == {"where": text}
    assert hash(where) == hash(location(text))
    assert str(where / name) == f"{text}/{name}"
    assert (where / name).parent == where
    assert (where / name).name == name == where.with_name(name).name


@given(KEYS)
def test_a_path_is_a_location_on_a_disk(key: str) -> None:
    where = location(Path(key))
    assert where == location(key)
    assert where.is_local
    assert (where.name, where.stem, where.suffix) == (
        Path(key).name,
        Path(key).stem,
        Path(key).suffix,
    )
    assert str(where.resolve()) == str(Path(key).resolve())
    bucket = location(f"s3://bucket/{key}")
    assert not bucket.is_local
    assert bucket.resolve() == bucket


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://bucket/a//b",
        "s3://bucket/../other/b",
        "s3://bucket/a b",
        "s3://bucket/a?versionId=1",
        "ftp://bucket/a",
        "https://bucket.s3.amazonaws.com/a",
    ],
)
def test_an_address_that_holds_no_store_is_refused_with_what_does(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not a place for a store; .*such as s3://"):
        location(text)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    for refused in (location, lambda text: local_path(text, "a bundle")):
        with pytest.raises(InvalidInputError) as error:
            refused("s3://AKIAME:hunter2@bucket/map.zarr")
        assert "hunter2" not in str(error.value)
        assert "AKIAME" not in str(error.value)


def test_a_bundle_is_kept_on_a_disk() -> None:
    assert local_path("out/model", "a model bundle") == Path("out/model")
    with pytest.raises(InvalidInputError, match=r"s3://b/model: a model bundle is kept on a disk"):
        local_path("s3://b/model", "a model bundle")


@pytest.fixture(params=["disk", "bucket"])
def place(request: Any, tmp_path: Path) -> Location:
    if request.param == "disk":
        return location(tmp_path / "place")
    return location(f"{request.getfixturevalue('s3')}/{tmp_path.name}/place-ü+=.")


def test_what_is_put_is_read_listed_and_deleted(place: Location) -> None:
    assert not place.exists()
    (place / "a" / "b.json").put_whole(b"1")
    (place / "a" / "b.json").put_whole(b"2")
    (place / "c").put_whole(b"3" * 12_000_000)
    (place.parent / f"{place.name}-other").put_whole(b"4")
    assert place.exists()
    assert (place / "a").exists()
    assert not (place / "a" / "b").exists()
    assert place.names() == ["a/b.json", "c"]
    assert (place / "a" / "b.json").read_bytes() == b"2"
    assert (place / "c").read_bytes() == b"3" * 12_000_000
    for absent in (place / "d", place / "a"):
        with pytest.raises(OSError, match=r"a|d"):
            absent.read_bytes()
    (place / "a").delete()
    (place / "d").delete()
    assert place.names() == ["c"]
    place.delete()
    assert not place.exists()
    assert (place.parent / f"{place.name}-other").exists()


def test_of_many_creators_one_wins(place: Location) -> None:
    contents = [f"creator {number}".encode() for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        won = list(threads.map((place / "claim").create, contents))
    assert sum(won) == 1
    assert (place / "claim").read_bytes() == contents[won.index(True)]
    assert not (place / "claim").create(b"late")
    assert (place / "claim").create(contents[won.index(True)])
    assert place.names() == ["claim"]


def test_a_new_file_stands_only_when_it_is_whole(place: Location) -> None:
    place.put_whole(b"old")

    def half() -> None:
        with place.new_file() as path:
            path.write_bytes(b"half")
            assert place.read_bytes() == b"old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert place.read_bytes() == b"old"
    with place.new_file() as path:
        path.write_bytes(b"new" * 3_000_000)
    assert place.read_bytes() == b"new" * 3_000_000
    assert [name for name in place.parent.names() if "partial" in name] == []


@pytest.mark.parametrize("write", [Location.put_whole, Location.create])
def test_a_file_that_the_disk_cannot_hold_leaves_nothing(write: Any, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(location(tmp_path / "a"), b"more than ten bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_bucket_that_is_absent_is_said_to_be(s3: str) -> None:
    absent = location("s3://nobody-made-this/map.zarr")
    with pytest.raises(StoreError, match=r"s3://nobody-made-this: there is no such bucket"):
        absent.put_whole(b"1")
    with pytest.raises(StoreError, match="nobody-made-this"):
        absent.exists()
    assert s3
