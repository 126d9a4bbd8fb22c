"""Chips of a cube are its pixels, and chips of one block of ground never train and test."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sscl_geo.cli import app
from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.run import run_experiment
from sscl_geo.experiment.spec import ForestSpec, SplitSpec, System
from sscl_geo.experiment.splits import split_chips
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.fields import opened, selected
from sscl_geo.io.layout import labels_layout
from sscl_geo.io.location import location
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.learn.study import Study
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.baseline import ForestRequest, make_baseline
from sscl_geo.stages.cut import CutSpec, cut_chips
from tests.drawn_cubes import PERIODS, SENSORS, draw_cube

GRID = Grid(crs="EPSG:32633", origin=(499980, 5400000), shape=(300, 300), tile_px=512)
SPEC = CutSpec(side_px=32, block_m=640)
BLIND = Window(64, 96, 32, 40)
"""Where no sensor sees anything in the first period; a whole chip and a part of its neighbour."""

UNLABELLED = Window(0, 0, 32, 64)


def write_labels(path: Path, grids: tuple[Grid, ...], legend: Legend) -> None:
    content = {
        "grids": [grid.model_dump(mode="json") for grid in grids],
        "legend": legend.model_dump(mode="json"),
    }
    plan = Plan(kind="labels", stage_version=1, arguments={}, content=content)
    store = Store.create(path, plan, labels_layout(grids, legend, {}), {TILES: records_table([])})
    random = np.random.default_rng(1)
    for grid in grids:
        values = random.choice(legend.values, grid.shape).astype(np.uint8)
        values[UNLABELLED.slices] = 0
        store.write(f"{grid.zone}/labels", (), Window(0, 0, *grid.shape), values)


@pytest.fixture(scope="module")
def stores(dfc2020: Legend, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cut")
    draw_cube(folder / "cube.zarr", (GRID,), BLIND)
    write_labels(folder / "labels.zarr", (GRID,), dfc2020)
    return folder / "cube.zarr", folder / "labels.zarr"


@pytest.fixture(scope="module")
def cut(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Chips:
    return cut_chips(*stores, SPEC, tmp_path_factory.mktemp("chips") / "chips.zarr")


def window_of(name: str) -> tuple[Window, int]:
    """Return a chip's pixels and period, which its id tells."""
    _, row, column, part = name.split("/", 3)
    time = [period.name for period in PERIODS].index(part)
    return Window(32 * int(row), 32 * int(column), 32, 32), time


def test_a_chip_is_the_cube_s_pixels_on_10_m(cut: Chips, stores: tuple[Path, Path]) -> None:
    cube, chips = Store.open(stores[0], "cube"), cut.chips
    for sensor in SENSORS:
        found = np.asarray(cut.store.array(sensor.array)[...])
        for index, band in enumerate(sensor.bands):
            group = sensor.group(band)
            stored = np.asarray(cube.array(f"epsg32633/{group}/{sensor.array}")[...])
            whole = stored[:, sensor.groups[group].index(band)]
            factor = 1 if group == "r10m" else 2
            fine = np.kron(whole, np.ones((1, factor, factor), whole.dtype))
            for number, chip in enumerate(chips):
                window, time = window_of(chip.id)
                assert np.array_equal(found[number, index], fine[time][window.slices])


def test_labels_are_those_of_the_pixels_that_were_observed(
    cut: Chips, stores: tuple[Path, Path]
) -> None:
    whole = np.asarray(Store.open(stores[1], "labels").array("epsg32633/labels")[...])
    blind = whole.copy()
    blind[BLIND.slices] = 0
    for number, chip in enumerate(cut.chips):
        window, time = window_of(chip.id)
        labels = np.asarray(cut.store.array("labels")[number])
        assert np.array_equal(labels, (whole if time else blind)[window.slices])
        assert labels.any()


def test_every_whole_chip_that_was_observed_and_is_labelled_is_cut_once(cut: Chips) -> None:
    rows = 300 // 32
    wanted = {(32 * row, 32 * column) for row in range(rows) for column in range(rows)}
    wanted -= {(0, 0), (0, 32)}
    found = [window_of(chip.id) for chip in cut.chips]
    assert len({*found}) == len(found)
    assert {(window.y, window.x) for window, time in found if time == 1} == wanted
    assert {(window.y, window.x) for window, time in found if time == 0} == wanted - {(64, 96)}
    assert {chip.part for chip in cut.chips} == {period.name for period in PERIODS}


def test_a_period_can_be_selected_as_a_part(cut: Chips) -> None:
    second = selected(str(cut.path), PERIODS[1].name)
    assert len(second.samples or ()) == 79


def test_a_place_is_the_block_in_which_a_chip_lies(cut: Chips) -> None:
    for chip in cut.chips:
        window, _ = window_of(chip.id)
        assert chip.place == f"epsg32633/{window.y // 64}/{window.x // 64}"


@given(st.integers(0, 30), st.sampled_from([0.2, 0.5]))
def test_no_block_trains_and_tests(cut: Chips, seed: int, share: float) -> None:
    chips = cut.chips
    split = split_chips(chips, SplitSpec(test=share, seed=seed))
    sides = [
        {(window.y // 64, window.x // 64) for window, _ in (window_of(chips[n].id) for n in side)}
        for side in (split.train, split.test)
    ]
    assert not sides[0] & sides[1]


def test_the_same_command_finds_its_chips_and_another_is_refused(
    cut: Chips, stores: tuple[Path, Path]
) -> None:
    assert cut_chips(*stores, SPEC, cut.path).spec == cut.spec
    with pytest.raises(PlanConflictError):
        cut_chips(*stores, SPEC.replace(block_m=320), cut.path)


def test_without_labels_every_observed_chip_is_cut(
    stores: tuple[Path, Path], tmp_path: Path
) -> None:
    made = cut_chips(stores[0], None, SPEC, tmp_path / "chips.zarr")
    assert made.spec.legend is None
    assert made.spec.count == 2 * 81 - 1


def test_ground_that_another_zone_owns_is_left_out(dfc2020: Legend, tmp_path: Path) -> None:
    west = GRID.replace(owns=(10.0, 40.0, 15.02, 50.0))
    draw_cube(tmp_path / "cube.zarr", (west,), BLIND)
    write_labels(tmp_path / "labels.zarr", (west,), dfc2020)
    made = cut_chips(
        tmp_path / "cube.zarr", tmp_path / "labels.zarr", SPEC, tmp_path / "chips.zarr"
    )
    columns = {window_of(chip.id)[0].x // 32 for chip in made.chips}
    # 0.02 degrees are 1.46 km here, and the fifth chip ends at 1.6 km.
    assert columns == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("side", "block", "cause"),
    [
        (33, 660, "--size 33: must be even"),
        (32, 500, "--block 500: must be a multiple of a chip's side, 320 m"),
        (64, 320, "--block 320: must be a multiple"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(side: int, block: int, cause: str) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        CutSpec(side_px=side, block_m=block)


def test_cubes_and_labels_that_do_not_fit_are_refused(
    stores: tuple[Path, Path], dfc2020: Legend, tmp_path: Path
) -> None:
    out = tmp_path / "chips.zarr"
    draw_cube(tmp_path / "days.zarr", (GRID,), BLIND, is_daily=True)
    with pytest.raises(InvalidInputError, match="make composites of it"):
        cut_chips(tmp_path / "days.zarr", stores[1], SPEC, out)
    with pytest.raises(InvalidInputError, match="make composites of it"):
        opened(Selection(path=location(tmp_path / "days.zarr")))
    with pytest.raises(InvalidInputError, match="make composites of it"):
        make_baseline(tmp_path / "days.zarr", stores[1], out, ForestRequest())
    write_labels(tmp_path / "shifted.zarr", (GRID.replace(origin=(500040, 5400000)),), dfc2020)
    with pytest.raises(InvalidInputError, match="lie on different grids"):
        cut_chips(stores[0], tmp_path / "shifted.zarr", SPEC, out)
    with pytest.raises(InvalidInputError, match="no square of 512 px holds an observed"):
        cut_chips(*stores, CutSpec(side_px=512, block_m=5120), out)
    assert not out.exists()


def test_the_command_cuts_and_refuses_what_is_not_of_its_kind(
    stores: tuple[Path, Path], realdata: Path, tmp_path: Path
) -> None:
    words = ["chips", "--source", str(stores[0]), "--out", str(tmp_path / "c.zarr")]
    cube = [*words, "--kind", "cube", "--labels", str(stores[1]), "--size", "32"]
    done = CliRunner().invoke(app, [*cube, "--block", "640"], catch_exceptions=False)
    assert "157 chips of 32 px, 14 bands" in done.output.replace("\n", " ")
    with pytest.raises(InvalidInputError, match="labels of a cube have their own"):
        CliRunner().invoke(app, [*cube, "--legend", "dfc2020"], catch_exceptions=False)
    npz = ["chips", "--source", str(realdata / "hls_worldcover.npz"), "--kind", "hls_worldcover"]
    with pytest.raises(InvalidInputError, match="are of --kind cube; leave them out"):
        CliRunner().invoke(
            app, [*npz, "--size", "32", "--out", str(tmp_path / "n.zarr")], catch_exceptions=False
        )


def test_an_experiment_on_chips_without_labels_is_refused_before_anything_is_learned(
    stores: tuple[Path, Path], tiny_study: Study, tmp_path: Path
) -> None:
    chips = cut_chips(stores[0], None, SPEC, tmp_path / "chips.zarr")
    experiment = Experiment(
        title="t",
        split=SplitSpec(test=0.3),
        labels=("all",),
        study=tiny_study.model_dump(mode="json"),
        systems={"forest": System(forest=ForestSpec(trees=2))},
    )
    with pytest.raises(InvalidInputError, match="these chips have no labels to learn from"):
        run_experiment(experiment, chips.path, tmp_path / "out", Machines())
    assert not (tmp_path / "out").exists()
