import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sscl_geo.errors import HolesError, InvalidInputError, ReadError
from sscl_geo.geo.grid import Grid, Tile
from sscl_geo.io.journal import journal
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, Unit

GRID = Grid(crs="EPSG:32736", origin=(617280, 9625140), shape=(600, 702), tile_px=256)
PLACE = "sentinel-2-l2a/S2_38D_378R_2_3_20230610T074621"
SERIAL = Machines()


def total_of(source: Path, store: Path, unit: Tile) -> Evidence:
    """Write the sum of a real band over a tile; count how often the unit was begun."""
    with (store / "begun.txt").open("a") as file:
        file.write(unit.key + "\n")
    window = GRID.window(unit)
    with rasterio.open(source) as dataset:
        if window.y >= dataset.height or window.x >= dataset.width:
            return {"empty": True}
        pixels = dataset.read(1, window=rasterio.windows.Window.from_slices(*window.slices))
    name = f"{unit.row}-{unit.column}.json"
    if (store / f"{name}.locked").exists():
        raise ReadError(f"{name} is locked")
    (store / name).write_text(json.dumps(int(pixels.astype(np.int64).sum())))
    return {"total": int(pixels.astype(np.int64).sum())}


def publish(store: Path, outcomes: Sequence[Outcome]) -> None:
    totals = [outcome.evidence.get("total") for outcome in outcomes]
    (store / "published.json").write_text(json.dumps(totals))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def source(realdata: Path) -> Path:
    return realdata / "stac" / PLACE / "B02.tif"


def stage_of(source: Path, store: Path) -> Stage:
    return Stage(
        plan=lambda: GRID.tiles,
        prepare=lambda: (store / "half.partial").unlink(missing_ok=True),
        run=partial(total_of, source, store),
        publish=partial(publish, store),
        memory=lambda: 1,
    )


def begun(store: Path) -> list[str]:
    return (store / "begun.txt").read_text().split()


def test_a_stage_does_every_unit_and_publishes_them_in_the_order_of_the_plan(
    source: Path, store: Path
) -> None:
    (store / "half.partial").write_text("half")
    summary = execute(stage_of(source, store), journal(store), SERIAL, "toy")
    assert summary == Summary(done=1, empty=8, now=9)
    assert begun(store) == [tile.key for tile in GRID.tiles]
    with rasterio.open(source) as dataset:
        expected = int(dataset.read(1).astype(np.int64).sum())
    assert json.loads((store / "published.json").read_text()) == [expected, *[None] * 8]
    assert not (store / "half.partial").exists()


def test_a_second_run_does_nothing_again(source: Path, store: Path) -> None:
    execute(stage_of(source, store), journal(store), SERIAL, "toy")
    (store / "published.json").unlink()
    summary = execute(stage_of(source, store), journal(store), SERIAL, "toy")
    assert summary == Summary(done=1, empty=8, now=0)
    assert len(begun(store)) == 9
    assert (store / "published.json").exists()


def test_a_killed_run_goes_on_where_it_was(source: Path, store: Path) -> None:
    stage = stage_of(source, store)

    def killed(unit: Unit) -> Evidence:
        if unit.key == GRID.tiles[4].key:
            raise KeyboardInterrupt
        return stage.run(unit)

    with pytest.raises(KeyboardInterrupt):
        execute(stage._replace(run=killed), journal(store), SERIAL, "toy")
    with (store / "ledger.jsonl").open("a") as file:
        file.write('{"key": "epsg32736/1/1", "sta')
    assert not (store / "published.json").exists()
    summary = execute(stage, journal(store), SERIAL, "toy")
    assert summary == Summary(done=1, empty=8, now=5)
    assert begun(store) == [tile.key for tile in GRID.tiles]


def test_a_failed_unit_is_a_hole_that_the_same_command_fills_later(
    source: Path, store: Path
) -> None:
    (store / "0-0.json.locked").write_text("")
    for _ in range(2):
        with pytest.raises(
            HolesError, match=r"1 of 9 units failed.*\n  epsg32736/0/0  0-0\.json is"
        ):
            execute(stage_of(source, store), journal(store), SERIAL, "toy")
        assert not (store / "published.json").exists()
    assert begun(store) == [*[tile.key for tile in GRID.tiles], "epsg32736/0/0"]
    assert Ledger(journal(store)).outcomes["epsg32736/0/0"].status == "failed"
    (store / "0-0.json.locked").unlink()
    summary = execute(stage_of(source, store), journal(store), SERIAL, "toy")
    assert summary == Summary(done=1, empty=8, now=1)
    assert (store / "published.json").exists()


def test_many_holes_are_counted_and_the_first_are_shown(source: Path, store: Path) -> None:
    tiles = tuple(Tile(zone="z", row=row, column=0) for row in range(30))

    def fail(unit: Unit) -> Evidence:
        raise OSError(f"no room for {unit.key}")

    stage = stage_of(source, store)._replace(plan=lambda: tiles, run=fail)
    with pytest.raises(HolesError) as error:
        execute(stage, journal(store), SERIAL, "toy")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("30 of 30 units failed")
    assert lines[1] == "  z/0/0  OSError: no room for z/0/0"
    assert lines[-1].startswith("  and 10 more")
    assert len(lines) == 22


def test_an_unknown_executor_is_refused_before_anything_is_touched(
    source: Path, store: Path
) -> None:
    (store / "half.partial").write_text("half")
    with pytest.raises(
        InvalidInputError,
        match="executors 'abacus': unknown; choose one of dask, ray_tasks, serial",
    ):
        execute(stage_of(source, store), journal(store), Machines(executor="abacus"), "toy")
    assert [path.name for path in store.iterdir()] == ["half.partial"]
