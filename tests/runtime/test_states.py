"""A store through any history of plans, runs, crashes, damage, checks and repairs, against a model.

The model is a dictionary: what each tile holds, as far as can be known.
"""

import multiprocessing
import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sscl_geo.errors import HolesError, PlanConflictError, ReadError
from sscl_geo.geo.grid import Grid, Tile
from sscl_geo.io.journal import journal
from sscl_geo.io.location import Location, location
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage
from sscl_geo.stages.upkeep import verify
from tests.drawn_maps import LEGEND

GRID = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(510, 510), tile_px=256)
TILES = {tile.key: tile for tile in GRID.tiles}
LAYERS = ("landcover", "confidence")
State = Literal["nothing", "unknown", "done", "failed", "damaged"]

SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["tests.runtime.test_states"])


def plan(seed: int) -> Plan:
    content = {"grids": [GRID.model_dump(mode="json")], "legend": LEGEND.model_dump(mode="json")}
    return Plan(kind="map", stage_version=1, arguments={"seed": seed}, content=content)


def picture(tile: Tile, layer: str) -> np.ndarray:
    """Return what a tile shall hold; no two of the same length when compressed."""
    window = GRID.window(tile)
    rng = np.random.default_rng([tile.row, tile.column, LAYERS.index(layer)])
    return rng.choice([10, 40, 80], (window.height, window.width)).astype(np.uint8)


def drawn(place: str, bad: frozenset[str], deadly: tuple[str, int], tile: Tile) -> Evidence:
    """Write a tile, fail, or die after some of its layers."""
    if tile.key in bad:
        raise ReadError(f"{tile.key} cannot be read")
    store, sums = Store.open(location(place), "map"), dict[str, str]()
    for count, layer in enumerate(LAYERS):
        if (tile.key, count) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        array = f"{tile.zone}/r10m/{layer}"
        sums[f"r10m/{layer}"] = store.write(array, (), GRID.window(tile), picture(tile, layer))
    if (tile.key, len(LAYERS)) == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"checksums": dict(sums)}


def publish(store: Store, outcomes: list[Outcome]) -> None:
    store.put("tiles.parquet", "\n".join(outcome.key for outcome in outcomes).encode())


def go(place: str, bad: frozenset[str], deadly: tuple[str, int] = ("", 0)) -> None:
    """Make the store, or go on with it."""
    where = location(place)
    store = Store.open(where, "map") if read_plan(where) else create(where, 1)
    stage = Stage(
        plan=lambda: GRID.tiles,
        prepare=store.sweep,
        run=partial(drawn, place, bad, deadly),
        publish=partial(publish, store),
        memory=lambda: 1,
    )
    execute(stage, journal(where), Machines(), "states")


def create(where: Location, seed: int) -> Store:
    return Store.create(where, plan(seed), map_layout((GRID,), LEGEND, {}), {})


def bytes_of(place: Location) -> dict[str, bytes]:
    names = (name for name in place.names() if not name.startswith("ledger"))
    return {name: (place / name).read_bytes() for name in names}


def holes_told(act: Callable[[], object]) -> str:
    """Return what an act says of holes; nothing if it finds none."""
    try:
        act()
    except HolesError as error:
        return str(error)
    return ""


class History(RuleBasedStateMachine):
    """What users, and bad luck, can do to a store."""

    root: Location
    whole: dict[str, bytes]
    tried: Counter[str]

    @initialize()
    def begin(self) -> None:
        self.place = self.root / f"{uuid.uuid4().hex}.zarr"
        self.tiles: dict[str, State] = dict.fromkeys(TILES, "nothing")

    def is_made(self) -> bool:
        return read_plan(self.place) is not None

    def unfinished(self) -> set[str]:
        return {key for key, state in self.tiles.items() if state not in ("done", "damaged")}

    @rule(bad=st.frozensets(st.sampled_from(sorted(TILES))))
    def run(self, bad: frozenset[str]) -> None:
        holes = self.unfinished() & bad
        self.tried["runs"] += 1
        told = holes_told(lambda: go(str(self.place), bad))
        assert bool(told) == bool(holes)
        assert not holes or f"{len(holes)} of {len(TILES)} units failed" in told
        assert all(key in told for key in holes)
        for key in self.unfinished():
            self.tiles[key] = "failed" if key in bad else "done"

    @rule(victim=st.sampled_from(sorted(TILES)), layers=st.integers(0, len(LAYERS)))
    def crash(self, victim: str, layers: int) -> None:
        life = SPAWN.Process(target=go, args=(str(self.place), frozenset(), (victim, layers)))
        life.start()
        life.join(60)
        is_reached = victim in self.unfinished()
        assert life.exitcode == (-signal.SIGKILL if is_reached else 0)
        self.tried["crashes"] += is_reached
        for key in self.unfinished():
            self.tiles[key] = "unknown" if is_reached else "done"

    @precondition(lambda self: "done" in self.tiles.values())
    @rule(number=st.integers(0, 99), deed=st.sampled_from(["flip", "cut", "delete"]))
    def damage(self, number: int, deed: str) -> None:
        done = sorted(key for key, state in self.tiles.items() if state == "done")
        key = done[number % len(done)]
        tile, layer = TILES[key], LAYERS[number % len(LAYERS)]
        chunk = self.place / tile.zone / "r10m" / layer / "c" / str(tile.row) / str(tile.column)
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 0x10
        if deed == "delete":
            chunk.delete()
        else:
            chunk.put_whole(bytes(content) if deed == "flip" else bytes(content[:-9]))
        self.tiles[key] = "damaged"
        self.tried["damaged chunks"] += 1

    @precondition(lambda self: self.is_made())
    @rule()
    def verify(self) -> None:
        self.tried["checks"] += 1
        damaged = {key for key, state in self.tiles.items() if state == "damaged"}
        told = holes_told(lambda: verify(self.place))
        failed = damaged | {key for key, state in self.tiles.items() if state == "failed"}
        assert bool(told) == bool(failed | self.unfinished())
        assert all(key in told for key in failed)
        assert bool(failed) <= (not (self.place / "tiles.parquet").exists())
        self.tiles.update(dict.fromkeys(damaged, "failed"))

    @precondition(lambda self: self.is_made())
    @rule()
    def another_plan(self) -> None:
        before = bytes_of(self.place)
        with pytest.raises(PlanConflictError, match="seed is 1 there and 2 here"):
            read_plan(self.place).check(plan(2), self.place)  # type: ignore[union-attr]
        with pytest.raises(PlanConflictError):
            create(self.place, 2)
        assert bytes_of(self.place) == before

    @invariant()
    def what_the_ledger_calls_finished_is(self) -> None:
        if not self.is_made():
            return
        finished = Ledger(journal(self.place)).finished
        known = {key for key, state in self.tiles.items() if state in ("done", "damaged")}
        unknown = {key for key, state in self.tiles.items() if state == "unknown"}
        assert known <= finished <= known | unknown
        store = Store.open(self.place, "map")
        for key in finished:
            if self.tiles[key] == "unknown":
                self.tiles[key] = "done"
            if self.tiles[key] == "done":
                for layer in LAYERS:
                    array = f"{TILES[key].zone}/r10m/{layer}"
                    found = store.read(array, (), GRID.window(TILES[key]))
                    assert np.array_equal(found, picture(TILES[key], layer))

    def teardown(self) -> None:
        """Let every history end well: checked, repaired, and then the bytes of a plain one."""
        if hasattr(self, "place"):
            if self.is_made():
                self.verify()
            self.run(frozenset())
            assert bytes_of(self.place) == self.whole
            self.place.delete()


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_any_history_ends_in_the_same_bytes(
    where: str, s3: str, tmp_path: Path, tally: Counter[str], wanted: int
) -> None:
    root = location(tmp_path) if where == "disk" else location(f"{s3}/states")
    go(str(root / "whole.zarr"), frozenset())
    attributes = {"root": root, "whole": bytes_of(root / "whole.zarr"), "tried": tally}
    histories = settings(max_examples=max(5, 2 * wanted), stateful_step_count=12, deadline=None)
    run_state_machine_as_test(type("OneHistory", (History,), attributes), settings=histories)
