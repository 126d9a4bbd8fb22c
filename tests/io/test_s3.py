"""Stores in buckets: made whole, by one command, whatever is killed or lost on the way."""

import http.client
import multiprocessing
import os
import random
import socket
import struct
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sscl_geo.errors import InvalidInputError, PlanConflictError, SsclGeoError, StoreError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.journal import PART_LINES, PartsJournal, journal
from sscl_geo.io.location import Location, location
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import CLAIM, Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.stages.upkeep import verify

GRID = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(510, 510), tile_px=256)
LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=1, name="wood", color="#00ff00"),
        LandClass(value=2, name="water", color="#0000ff"),
    ),
)
LANDCOVER = "epsg32633/r10m/landcover"
WHOLE = Window(0, 0, *GRID.shape)

SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["sscl_geo.io.store"])


def plan(bbox: int = 1) -> Plan:
    return Plan(kind="map", stage_version=1, arguments={"bbox": bbox})


def fill(store: Store) -> None:
    for tile in GRID.tiles:
        window = GRID.window(tile)
        store.write(LANDCOVER, (), window, np.ones((window.height, window.width), np.uint8))


def made(place: Any, bbox: int = 1, fill: Any = fill) -> Store:
    return Store.create(place, plan(bbox), map_layout((GRID,), LEGEND, {}), {"a.txt": b"a"}, fill)


def content(place: Any) -> dict[str, bytes]:
    where = location(place)
    return {name: (where / name).read_bytes() for name in where.names()}


@pytest.fixture
def place(s3: str, tmp_path: Path) -> Location:
    return location(f"{s3}/{tmp_path.name}/map.zarr")


def test_a_store_is_the_same_bytes_in_a_bucket_and_on_a_disk(
    place: Location, tmp_path: Path
) -> None:
    store = made(place)
    assert content(made(tmp_path / "map.zarr").path) == content(place)
    assert (Store.open(place, "map").read(LANDCOVER, (), WHOLE) == 1).all()
    assert read_plan(place) == plan()
    store.put("a.txt", b"b")
    assert (place / "a.txt").read_bytes() == b"b"
    with pytest.raises(InvalidInputError, match=r"map\.zarr: is a map; give"):
        Store.open(place, "cube")
    with pytest.raises(InvalidInputError, match="not found"):
        Store.open(place.with_name("absent"), "map")


def test_what_is_no_store_is_refused(place: Location) -> None:
    (place / "diary.txt").put_whole(b"mine")
    with pytest.raises(InvalidInputError, match="exists and is not a store"):
        read_plan(place)


def test_a_failed_making_leaves_no_store_and_gives_its_place_up(place: Location) -> None:
    def fail(store: Store) -> None:
        fill(store)
        store.put("extra.txt", b"1")
        assert read_plan(place) is None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made(place, fill=fail)
    assert read_plan(place) is None
    assert not (made(place, bbox=2, fill=lambda _: None).read(LANDCOVER, (), WHOLE)).any()
    assert read_plan(place) == plan(2)
    assert not {CLAIM, "extra.txt"} & set(place.names())


def make_slowly(text: str, bbox: int, seconds: float) -> None:
    def slow(store: Store) -> None:
        time.sleep(seconds)
        fill(store)

    with suppress(SsclGeoError):
        made(text, bbox, slow)


def test_the_claim_of_a_killed_command_keeps_others_out_and_lets_the_same_one_in(
    place: Location, tmp_path: Path
) -> None:
    life = SPAWN.Process(target=make_slowly, args=(str(place), 1, 60))
    life.start()
    while not (place / "a.txt").exists():
        life.join(0.01)
        assert life.is_alive()
    life.kill()
    life.join()
    assert read_plan(place) is None
    with pytest.raises(PlanConflictError, match=r"is unfinished and was made .* bbox is 1 there"):
        made(place, bbox=2)
    assert content(made(place).path) == content(made(tmp_path / "map.zarr").path)


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_of_two_commands_at_once_one_wins_and_the_other_is_told(
    place: Location, tmp_path: Path, kind: str
) -> None:
    where = place if kind == "bucket" else location(tmp_path / "map.zarr")

    def meanwhile(store: Store) -> None:
        fill(store)
        life = SPAWN.Process(target=make_slowly, args=(str(where), 1, 0))
        life.start()
        life.join()
        assert (store.path / "a.txt").exists()

    with pytest.raises(PlanConflictError, match="another command is making this store"):
        made(where, fill=meanwhile)
    assert read_plan(where) == plan()
    assert (Store.open(where, "map").read(LANDCOVER, (), WHOLE) == 1).all()
    assert CLAIM not in where.names()
    assert [name for name in where.parent.names() if "pending" in name] == []


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_whoever_wins_of_commands_that_start_together_the_store_is_whole(
    place: Location, tmp_path: Path, kind: str
) -> None:
    expected = content(made(tmp_path / "alone.zarr").path)
    where = place if kind == "bucket" else location(tmp_path / "map.zarr")
    lives = [SPAWN.Process(target=make_slowly, args=(str(where), 1, 0)) for _ in range(3)]
    for life in lives:
        life.start()
    for life in lives:
        life.join()
        assert life.exitcode == 0
    assert content(where) == expected


def test_what_a_killed_command_left_beside_a_store_is_deleted_by_the_next(tmp_path: Path) -> None:
    life = SPAWN.Process(target=make_slowly, args=(str(tmp_path / "map.zarr"), 1, 60))
    life.start()
    while not list(tmp_path.glob(".*/a.txt")):
        life.join(0.01)
        assert life.is_alive()
    life.kill()
    life.join()
    made(tmp_path / "map.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["map.zarr"]


def picture(value: int, window: Window) -> np.ndarray:
    noise = np.random.default_rng(value).integers(1, 255, (window.height, window.width))
    noise[0, 0] = value
    return noise.astype(np.uint8)


def write_for_long(text: str, first: int) -> None:
    store = Store.open(location(text), "map")
    for value in range(first, first + 60):
        for window in map(GRID.window, GRID.tiles):
            store.write(LANDCOVER, (), window, picture(value, window))


def test_a_reader_sees_whole_tiles_while_writers_are_killed(place: Location) -> None:
    store = made(place, fill=lambda _: None)
    rng, seen = random.Random(1), {0}  # noqa: S311 - moments, not secrets
    stood: set[Window] = set()
    for first in (1, 61, 121, 181):
        life = SPAWN.Process(target=write_for_long, args=(str(place), first))
        life.start()
        ending = None
        while ending is None or time.monotonic() < ending:
            for window in map(GRID.window, GRID.tiles):
                found = store.read(LANDCOVER, (), window)
                value = int(found[0, 0])
                assert np.array_equal(found, picture(value, window)) if value else not found.any()
                assert value or window not in stood  # once written, never absent
                stood |= {window} if value else set()
                seen.add(value)
            if ending is None and max(seen) >= first:
                ending = time.monotonic() + rng.uniform(0, 0.3)
            assert life.is_alive()
        life.kill()
        life.join()
    assert len(seen) >= 5


def test_killed_at_any_moment_of_its_making_a_store_is_absent_or_whole(
    place: Location, tmp_path: Path, wanted: int, tally: Counter[str]
) -> None:
    expected = content(made(tmp_path / "map.zarr").path)
    rng, kills = random.Random(2), 0  # noqa: S311 - moments, not secrets
    for number in range(max(5, 2 * wanted)):
        where = place.with_name(f"{number}.zarr")
        life = SPAWN.Process(target=make_slowly, args=(str(where), 1, 0))
        life.start()
        while not where.exists() and life.is_alive():
            life.join(0.01)
        life.join(rng.uniform(0, 0.25))
        kills += life.is_alive()
        life.kill()
        life.join()
        if read_plan(where) is None:
            made(where)
        Store.open(where, "map").sweep()
        assert content(where) == expected
    assert kills >= 2
    tally["kills while a store is made"] += kills


class Wire(ThreadingHTTPServer):
    """A proxy that loses connections: before a request is passed on, or before its answer is."""

    def __init__(self, target: str, losses: int, *, is_answer: bool) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.target, self.losses, self.lost, self.is_answer = target, losses, 0, is_answer


class Passing(BaseHTTPRequestHandler):
    server: Wire

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_lost = self.server.lost < self.server.losses
        self.server.lost += is_lost
        if is_lost and not self.server.is_answer:
            self.reset()
            return
        upstream = http.client.HTTPConnection(self.server.target)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if is_lost:
            self.reset()
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - the library's names

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        del format, args


@contextmanager
def wired(monkeypatch: pytest.MonkeyPatch, losses: int, *, is_answer: bool) -> Iterator[str]:
    direct = os.environ["AWS_ENDPOINT_URL"]
    bucket = f"wired-{losses}-{is_answer}".lower()
    urllib.request.urlopen(urllib.request.Request(f"{direct}/{bucket}", method="PUT")).close()  # noqa: S310
    with Wire(direct.removeprefix("http://"), losses, is_answer=is_answer) as wire:
        threading.Thread(target=wire.serve_forever, daemon=True).start()
        try:
            with monkeypatch.context() as environment:
                environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{wire.server_port}")
                yield f"s3://{bucket}"
            assert wire.lost == losses
        finally:
            wire.shutdown()


@pytest.mark.parametrize("is_answer", [False, True], ids=["request", "answer"])
@pytest.mark.usefixtures("s3")
def test_a_lost_connection_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, *, is_answer: bool
) -> None:
    with wired(monkeypatch, 2, is_answer=is_answer) as bucket:
        assert location(f"{bucket}/claim").create(b"1")
        location(f"{bucket}/file").put_whole(b"2")
        assert location(f"{bucket}/file").read_bytes() == b"2"
        assert not location(f"{bucket}/claim").create(b"3")
        assert location(f"{bucket}/claim").read_bytes() == b"1"


@pytest.mark.usefixtures("s3")
def test_what_cannot_be_reached_is_told_in_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("sscl_geo.io.client.RETRIES", 1)
        for task in (location("s3://unreached/a").read_bytes, location("s3://unreached/a").names):
            with pytest.raises(
                StoreError, match=r"s3://unreached cannot be reached.*check"
            ) as told:
                task()
            assert "\n" not in str(told.value)
            assert "a-secret-of-the-tests" not in str(told.value)


@pytest.mark.usefixtures("s3")
def test_a_store_that_goes_out_of_reach_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sscl_geo.io.client.RETRIES", 1)
    with wired(monkeypatch, 0, is_answer=False) as bucket:
        place = location(f"{bucket}/map.zarr")
        store = made(place)
    # The server of the proxy has ended, and its client is still in use.
    for act in (
        lambda: store.read(LANDCOVER, (), WHOLE),
        lambda: Store.open(place, "map"),
        lambda: Store(place, plan()),
        lambda: verify(place),
    ):
        with pytest.raises(StoreError, match="cannot be reached"):
            act()


def test_two_journals_overwrite_nothing(place: Location) -> None:
    first, second = journal(place), journal(place)
    lines = [f"{number}".encode() for number in range(6)]
    assert first.lines() == second.lines() == []
    for line in lines[:3]:
        first.append(line)
        first.flush()
    for line in lines[3:]:
        second.append(line)
    second.flush()
    assert sorted(journal(place).lines()) == lines
    assert journal(place).lines()[:3] == lines[:3]


def test_a_killed_writer_of_a_journal_loses_few_lines(place: Location) -> None:
    writer = journal(place)
    assert isinstance(writer, PartsJournal)
    lines = [f"{number}".encode() for number in range(3 * PART_LINES)]
    for count, line in enumerate(lines, 1):
        writer.append(line)
        if count in {1, 50, 150, 300}:
            kept = journal(place).lines()
            assert kept == lines[: len(kept)]
            assert count - len(kept) < PART_LINES
    assert len(place.names()) <= 4
    writer.flush()
    writer.flush()
    assert journal(place).lines() == lines
