"""Labels: what does not fit is told, and nothing half-written stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
from typer.testing import CliRunner

from sscl_geo import plugins
from sscl_geo.cli import app
from sscl_geo.demo.items import CRS, ground_transform
from sscl_geo.demo.serve import served
from sscl_geo.errors import (
    CatalogError,
    HolesError,
    InvalidInputError,
    NoSceneError,
    PlanConflictError,
)
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Window
from sscl_geo.geo.ground import block_bbox, inside_bbox
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.cubes import Classes
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.profile import source
from sscl_geo.io.publish.cog import write_cog
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.evaluate import evaluate
from sscl_geo.stages.labels import LabelsRequest, LayerSource, legend_of, make_labels, resume
from sscl_geo.stages.upkeep import status, verify
from tests.drawn_cubes import draw_cube
from tests.drawn_maps import draw_map, drawn

Content = Callable[[Path], dict[str, bytes]]


def test_labels_of_another_place_are_refused(learned: Any, dfc2020: Legend, tmp_path: Path) -> None:
    far = ground_transform(10, first_column=20_000)
    ones = np.ones((50, 50), np.uint8)
    write_cog(tmp_path / "far.tif", ones, crs=CRS, transform=far, nodata=0)
    request = LabelsRequest(cube=learned.cube, source=tmp_path / "far.tif", legend=dfc2020)
    with pytest.raises(InvalidInputError, match="no label on the pixels"):
        make_labels(request, tmp_path / "labels.zarr")
    assert not (tmp_path / "labels.zarr").exists()


def test_a_value_that_the_legend_misses_is_named(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    short = dfc2020.replace(classes=dfc2020.classes[:-1])
    request = LabelsRequest(cube=learned.cube, source=world.truth, legend=short)
    with pytest.raises(HolesError, match=r"\[10\].*sources"):
        make_labels(request, tmp_path / "labels.zarr")
    # Tiles without the value are done; a legend that knows it makes other labels.
    assert status(tmp_path / "labels.zarr").counts["done"] > 0
    with pytest.raises(InvalidInputError, match="unfinished"):
        Classes.open(tmp_path / "labels.zarr", "labels")


def test_a_value_outside_the_box_needs_no_class(dfc2020: Legend, tmp_path: Path) -> None:
    (grid,) = grids_of(Area(bbox=BBox(15.0, 48.7, 15.02, 48.71)), "auto", 256)
    draw_cube(tmp_path / "cube.zarr", (grid,), Window(0, 0, 0, 0))
    ground = grid.block(Window(0, 0, *grid.shape))
    west, south, east, north = block_bbox(ground)
    inside = inside_bbox(ground, BBox(west, south, (west + east) / 2, north))
    values = np.where(inside, 10, 77).astype(np.uint8)
    write_cog(tmp_path / "a.tif", values, crs=grid.crs, transform=ground.transform, nodata=0)
    request = LabelsRequest(
        cube=tmp_path / "cube.zarr",
        source=tmp_path / "a.tif",
        legend=dfc2020,
        bbox=BBox(west, south, (west + east) / 2, north),
    )
    make_labels(request, tmp_path / "labels.zarr")
    found = xarray.open_zarr(tmp_path / "labels.zarr", group=grid.zone, mask_and_scale=False)
    assert np.array_equal(found.labels.values, np.where(inside, 10, 0))
    with pytest.raises(HolesError, match=r"\[77\]"):
        make_labels(request.replace(bbox=None), tmp_path / "others.zarr")


def test_a_source_of_which_no_tile_can_be_labelled_leaves_nothing(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    foreign = tuple(item.replace(sources=(100 + item.value,)) for item in dfc2020.classes)
    none = dfc2020.replace(classes=foreign)
    request = LabelsRequest(cube=learned.cube, source=world.truth, legend=none)
    with pytest.raises(HolesError, match="4 of 4 units failed"):
        make_labels(request, tmp_path / "labels.zarr")
    assert not (tmp_path / "labels.zarr").exists()


def test_labels_of_a_file_that_was_mended_are_those_that_stand_in_it(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    path = Path(shutil.copy(world.truth, tmp_path / "truth.tif"))
    request = LabelsRequest(cube=learned.cube, source=path, legend=dfc2020)
    make_labels(request, tmp_path / "labels.zarr")
    with rasterio.open(path) as file:
        values, profile = file.read(1), file.profile
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.where(values == 10, 1, values), 1)
    with pytest.raises(PlanConflictError, match="source is"):
        make_labels(request, tmp_path / "labels.zarr")
    shutil.rmtree(tmp_path / "labels.zarr")
    make_labels(request, tmp_path / "labels.zarr")
    found = xarray.open_zarr(tmp_path / "labels.zarr", group="epsg32633").labels.values
    assert 10 in values
    assert 10 not in found


def test_labels_that_were_made_stay_when_their_repair_fails(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(learned.labels, tmp_path / "labels.zarr"))
    for line in (out / "ledger.jsonl").read_text().splitlines():
        failed = {"key": json.loads(line)["key"], "status": "failed", "cause": "the test"}
        with (out / "ledger.jsonl").open("a") as file:
            file.write(json.dumps(failed) + "\n")
    # No worker has room for a unit, so that none is done; of new labels nothing would stay.
    crowded = Machines(executor="dask", workers=10**7)
    with pytest.raises(InvalidInputError, match="one unit needs up to"):
        resume(out, crowded)
    assert (out / "plan.json").exists()
    request = LabelsRequest(cube=learned.cube, source=world.truth, legend=dfc2020)
    with pytest.raises(InvalidInputError, match="one unit needs up to"):
        make_labels(request, tmp_path / "new.zarr", crowded)
    assert not (tmp_path / "new.zarr").exists()


def test_a_source_value_of_zero_is_refused(learned: Any, dfc2020: Legend, tmp_path: Path) -> None:
    first, *others = dfc2020.classes
    wrong = dfc2020.replace(classes=(first.replace(sources=(0, 77)), *others))
    request = LabelsRequest(cube=learned.cube, source=tmp_path / "any.tif", legend=wrong)
    with pytest.raises(InvalidInputError, match=f"{first.name} has the source value 0, which here"):
        make_labels(request, tmp_path / "labels.zarr")


def test_labels_and_map_of_other_names_do_not_meet(
    learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    (grid,) = Classes.open(learned.labels, "labels").grids
    one, two, *others = dfc2020.classes
    swapped = (one.replace(name=two.name), two.replace(name=one.name), *others)
    legend = dfc2020.replace(classes=swapped)
    draw_map(tmp_path / "map.zarr", [grid], drawn(np.ones(grid.shape)), legend=legend)
    with pytest.raises(InvalidInputError, match="make the labels with the legend of the model"):
        evaluate(tmp_path / "map.zarr", learned.labels)


def test_damaged_labels_are_found_and_made_again(
    learned: Any, content: Content, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(learned.labels, tmp_path / "labels.zarr"))
    assert verify(out) == 4
    next(path for path in (out / "epsg32633/labels/c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(HolesError, match="1 of 4 units failed"):
        verify(out)
    assert resume(out, Machines()).now == 1
    assert content(out) == content(learned.labels)
    assert verify(out) == 4


def test_labels_are_the_truth_where_the_truth_is_and_nothing_elsewhere(
    world: Any, learned: Any
) -> None:
    with rasterio.open(world.truth) as file:
        truth, corner = file.read(1), file.transform @ (0, 0)
    group = xarray.open_zarr(learned.labels, group="epsg32633", mask_and_scale=False)
    left = round((corner[0] + 5 - group.x.values[0]) / 10)
    top = round((group.y.values[0] + 5 - corner[1]) / 10)
    place = np.s_[top : top + truth.shape[0], left : left + truth.shape[1]]
    assert np.array_equal(group.labels.values[place], truth)
    assert (group.labels.values != 0).sum() == (truth != 0).sum()


def test_labels_of_a_catalogue_s_layer_are_those_of_its_raster(
    learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    request = LabelsRequest(
        cube=learned.cube, source=LayerSource(layer="land-cover"), legend=dfc2020
    )
    # In processes of their own, which find the rasters in the store.
    summary, share = make_labels(request, tmp_path / "labels.zarr", Machines(executor="dask"))
    assert summary.now == 4
    assert share > 0
    by_file, by_layer = (
        xarray.open_zarr(path, group="epsg32633").labels.values
        for path in (learned.labels, tmp_path / "labels.zarr")
    )
    assert np.array_equal(by_file, by_layer)
    of_file, of_layer = (
        xarray.open_zarr(path).attrs for path in (learned.labels, tmp_path / "labels.zarr")
    )
    assert of_layer["license"] == "as of the collection"
    assert "license" not in of_file


def test_a_layer_has_the_legend_that_its_catalogue_s_profile_names(learned: Any) -> None:
    known = LayerSource(layer="worldcover", catalog=source("planetary-computer"))
    shipped = plugins.shipped("catalogs") / "legends" / "worldcover.yaml"
    assert legend_of(known, learned.cube) == read_yaml(Legend, shipped)
    with pytest.raises(InvalidInputError, match="does not say what its classes are; give a --leg"):
        legend_of(LayerSource(layer="land-cover"), learned.cube)
    with pytest.raises(InvalidInputError, match="holds measurements"):
        legend_of(known.replace(layer="cop-dem"), learned.cube)


def test_the_command_asks_for_a_legend_where_nothing_else_tells_it(
    world: Any, learned: Any, tmp_path: Path
) -> None:
    command = ["labels", "--cube", str(learned.cube), "--out", str(tmp_path / "labels.zarr")]
    for given, told in ((str(world.truth), "what its numbers mean"), ("stac:land-cover", "give a")):
        with pytest.raises(InvalidInputError, match=told) as error:
            CliRunner().invoke(app, [*command, "--source", given], catch_exceptions=False)
        assert "--legend" in str(error.value)


@pytest.mark.parametrize("given", ["stac:worldcover", "truth.tif", "TRUTH.TIFF"])
def test_a_column_is_of_polygons_alone(given: str) -> None:
    words = ("--cube", "c.zarr", "--out", "l.zarr", "--legend", "dfc2020", "--column", "class")
    with pytest.raises(InvalidInputError, match=f"--column class: is of polygons, not {given}"):
        CliRunner().invoke(app, ["labels", *words, "--source", given], catch_exceptions=False)


def test_a_layer_is_searched_once(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    with served(world.catalog) as urls:
        layer = LayerSource(layer="land-cover", catalog=source(urls.api))
        request = LabelsRequest(cube=learned.cube, source=layer, legend=dfc2020)
        assert make_labels(request, tmp_path / "labels.zarr").summary.now == 4
    # Its server has gone.
    assert make_labels(request, tmp_path / "labels.zarr").summary.now == 0
    assert resume(tmp_path / "labels.zarr", Machines()).now == 0
    with pytest.raises(CatalogError, match="cannot be searched"):
        make_labels(request, tmp_path / "others.zarr")


def test_a_layer_that_is_not_there_is_told(learned: Any, dfc2020: Legend, tmp_path: Path) -> None:
    absent = LabelsRequest(cube=learned.cube, source=LayerSource(layer="snow"), legend=dfc2020)
    with pytest.raises(InvalidInputError, match="layer 'snow': generic has land-cover"):
        make_labels(absent, tmp_path / "labels.zarr")
    early = LayerSource(layer="land-cover", datetime="2001-01-01/2001-12-31")
    with pytest.raises(NoSceneError, match="no raster over the cube in 2001-01-01/2001-12-31"):
        make_labels(absent.replace(source=early), tmp_path / "labels.zarr")


def test_a_layer_of_measurements_is_no_labels(
    learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    heights = LayerSource(layer="cop-dem", catalog=source("planetary-computer"))
    request = LabelsRequest(cube=learned.cube, source=heights, legend=dfc2020)
    with pytest.raises(InvalidInputError, match=r"stac:cop-dem: holds measurements \(m\), not"):
        make_labels(request, tmp_path / "labels.zarr")


def test_a_map_that_is_absent_is_said_to_be(learned: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not found"):
        evaluate(tmp_path / "map.zarr", learned.labels)


def test_labels_and_map_of_different_grids_do_not_meet(
    learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    (grid,) = Classes.open(learned.labels, "labels").grids
    moved = grid.replace(origin=(grid.origin[0] + 60, grid.origin[1]))
    content = {"grids": [moved.model_dump(mode="json")], "legend": dfc2020.model_dump(mode="json")}
    plan = Plan(kind="map", stage_version=1, arguments={}, content=content)
    layout = map_layout((moved,), dfc2020, {})
    tiles = records_table([{"key": tile.key} for tile in moved.tiles])
    Store.create(tmp_path / "map.zarr", plan, layout, {TILES: tiles})
    with pytest.raises(InvalidInputError, match="different grids"):
        evaluate(tmp_path / "map.zarr", learned.labels)
