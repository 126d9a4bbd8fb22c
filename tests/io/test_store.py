import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.disk import write_whole
from sscl_geo.io.making import begin
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store, checksum

GRID = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(600, 702), tile_px=256)
LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=1, name="wood", color="#00ff00"),
        LandClass(value=2, name="water", color="#0000ff"),
    ),
)
LANDCOVER = "epsg32633/r10m/landcover"


def plan(**arguments: Any) -> Plan:
    return Plan(kind="map", stage_version=1, arguments={"bbox": [1, 2], **arguments})


def made(path: Path) -> Store:
    layout = map_layout((GRID,), LEGEND, {"title": "toy"})
    return Store.create(path, plan(), layout, {"notes.txt": b"hello"})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, np.ndarray]:
    store = made(tmp_path_factory.mktemp("stores") / "map.zarr")
    values = np.random.default_rng(1).integers(1, 255, GRID.shape).astype(np.uint8)
    for tile in GRID.tiles:
        window = GRID.window(tile)
        store.write(LANDCOVER, (), window, values[window.slices].copy())
    return store, values


def test_a_new_store_holds_its_plan_its_tables_and_no_data(tmp_path: Path) -> None:
    store = made(tmp_path / "map.zarr")
    assert read_plan(store.path) == plan()
    assert (store.path / "notes.txt").read_bytes() == b"hello"
    assert not store.read(LANDCOVER, (), Window(0, 0, *GRID.shape)).any()
    assert (store.read("epsg32633/r10m/confidence", (), Window(0, 0, *GRID.shape)) == 255).all()
    assert [path.name for path in tmp_path.iterdir()] == ["map.zarr"]


def test_nothing_stands_at_the_path_until_the_store_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "map.zarr"
    layout = map_layout((GRID,), LEGEND, {})

    def fail(store: Store) -> None:
        store.write(LANDCOVER, (), Window(0, 0, 256, 256), np.ones((256, 256), np.uint8))
        assert not path.exists()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Store.create(path, plan(), layout, {}, fail)
    assert not path.exists()
    assert read_plan(path) is None
    again = Store.create(path, plan(), layout, {})
    assert not again.read(LANDCOVER, (), Window(0, 0, 256, 256)).any()


def test_the_same_plan_continues_a_store(tmp_path: Path) -> None:
    made(tmp_path / "map.zarr")
    assert begin(tmp_path / "map.zarr", plan())
    assert Store.open(tmp_path / "map.zarr", "map").plan == plan()
    assert not begin(tmp_path / "deep" / "new", plan())
    assert begin(tmp_path / "deep" / "new", plan())


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (plan(bbox=[1, 3]), r"bbox is \[1, 2\] there and \[1, 3\] here"),
        (plan(halo=3), "halo is null there and 3 here"),
        (plan().replace(stage_version=2), "stage_version is 1 there and 2 here"),
        (plan().replace(kind="labels"), 'kind is "map" there and "labels" here'),
    ],
)
def test_another_plan_may_not_continue_a_store(tmp_path: Path, wanted: Plan, told: str) -> None:
    made(tmp_path / "map.zarr")
    with pytest.raises(PlanConflictError, match=f"map.zarr was made by another plan: {told}"):
        begin(tmp_path / "map.zarr", wanted)


def test_of_long_values_the_part_that_differs_is_told() -> None:
    legends = [{"name": "one", "classes": [{"name": "x" * 99, "value": v}]} for v in (1, 2)]
    one, two = (plan(legend=legend) for legend in legends)
    with pytest.raises(
        PlanConflictError, match=r"legend\.classes\[0\]\.value is 1 there and 2 here"
    ):
        one.check(two, "a.zarr")


def test_what_was_derived_from_a_plan_is_no_part_of_what_was_asked(tmp_path: Path) -> None:
    made(tmp_path / "map.zarr")
    assert begin(tmp_path / "map.zarr", plan().replace(content={"grids": []}))


def test_a_later_release_continues_a_store_and_leaves_its_plan(tmp_path: Path) -> None:
    path, later = tmp_path / "map.zarr", plan().replace(package_version="99.0.1")
    store, layout = made(path), map_layout((GRID,), LEGEND, {})
    assert begin(path, later)
    assert Store.begun(path, later, layout, {}).plan == store.plan == read_plan(path)
    assert later.digest != store.plan.digest


@pytest.mark.parametrize("content", [None, "no json", '{"kind": "map"}'])
def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "precious").mkdir()
    if content is not None:
        (tmp_path / "precious" / "plan.json").write_text(content)
    for refused in (
        read_plan,
        lambda path: begin(path, plan()),
        lambda path: Store.open(path, "map"),
    ):
        with pytest.raises(InvalidInputError, match="precious"):
            refused(tmp_path / "precious")


def test_a_store_of_another_kind_or_none_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "map.zarr")
    with pytest.raises(InvalidInputError, match=r"map\.zarr: is a map; give the path of a cube"):
        Store.open(tmp_path / "map.zarr", "cube")
    with pytest.raises(InvalidInputError, match=r"absent: not found"):
        Store.open(tmp_path / "absent", "cube")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="file exists and is not a store"):
        Store.open(tmp_path / "file", "cube")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-700, 800), st.integers(-800, 900), st.integers(1, 800), st.integers(1, 800))
def test_a_window_reads_what_was_written_and_fill_beyond_the_edge(
    written: tuple[Store, np.ndarray], y: int, x: int, height: int, width: int
) -> None:
    store, values = written
    padded = np.pad(values, 1700)
    expected = padded[1700 + y : 1700 + y + height, 1700 + x : 1700 + x + width]
    assert np.array_equal(store.read(LANDCOVER, (), Window(y, x, height, width)), expected)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(longest=st.integers(1, 800))
def test_a_store_thinned_has_every_so_manieth_pixel(
    written: tuple[Store, np.ndarray], longest: int
) -> None:
    store, values = written
    step = -(-max(GRID.shape) // longest)
    found = store.thinned(LANDCOVER, (), longest)
    assert np.array_equal(found, values[::step, ::step])
    assert max(found.shape) <= longest


def test_a_write_touches_its_own_chunk_alone(tmp_path: Path) -> None:
    store = made(tmp_path / "map.zarr")
    first, second = (GRID.window(tile) for tile in (GRID.tiles[0], GRID.tiles[4]))
    store.write(LANDCOVER, (), first, np.full((256, 256), 1, np.uint8))
    before = contents(tmp_path / "map.zarr")
    told = store.write(LANDCOVER, (), second, np.full((256, 256), 2, np.uint8))
    after = contents(tmp_path / "map.zarr")
    assert {name: after[name] for name in before} == before
    assert [name for name in after if name not in before] == [f"{LANDCOVER}/c/1/1"]
    assert told == checksum(np.full((256, 256), 2, np.uint8))
    store.write(LANDCOVER, (), second, np.full((256, 256), 2, np.uint8))
    assert contents(tmp_path / "map.zarr") == after


def test_what_is_written_outlasts_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced, really = made(tmp_path / "map.zarr"), set(), os.fsync

    def spy(number: int) -> None:
        synced.add(os.fstat(number).st_ino)
        really(number)

    monkeypatch.setattr(os, "fsync", spy)
    before = contents(tmp_path)
    store.write(LANDCOVER, (), Window(0, 0, 512, 256), np.ones((512, 256), np.uint8))
    new = [tmp_path / name for name in contents(tmp_path).keys() - before.keys()]
    assert len(new) == 2
    assert {path.stat().st_ino for path in new} <= synced
    for path in new:
        above = [one for one in path.parents if one.is_relative_to(tmp_path / "map.zarr")]
        assert {one.stat().st_ino for one in above} <= synced


def test_a_checksum_depends_on_values_shape_and_type() -> None:
    data = np.arange(6, dtype=np.uint8).reshape(2, 3)
    others: list[np.ndarray] = [
        data + 1,
        data.reshape(3, 2),
        data.astype(np.int8),
        data.astype(np.uint16),
    ]
    assert checksum(data) == checksum(np.asfortranarray(data))
    assert len({checksum(item) for item in (data, *others)}) == 5


def test_a_sweep_clears_half_written_files_alone(tmp_path: Path) -> None:
    store = made(tmp_path / "map.zarr")
    store.write(LANDCOVER, (), Window(0, 0, 256, 256), np.ones((256, 256), np.uint8))
    before = contents(tmp_path / "map.zarr")
    for name in (".plan.json.17.partial", f"{LANDCOVER}/c/0/0.0a1b.partial"):
        (tmp_path / "map.zarr" / name).write_bytes(b"half")
    store.sweep()
    store.sweep()
    assert contents(tmp_path / "map.zarr") == before


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    store = made(tmp_path / "map.zarr")
    store.put("notes.txt", b"new")
    assert (store.path / "notes.txt").read_bytes() == b"new"
    write_whole(tmp_path / "a", b"x" * 100000)
    assert (tmp_path / "a").stat().st_size == 100000
    assert not list(tmp_path.rglob("*.partial"))
