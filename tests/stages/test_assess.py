"""Assessment: a sample that interpreters can trust, and numbers that they can be held to."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
from scipy.stats import binom

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import location
from sscl_geo.io.points import POINTS, STRATA
from sscl_geo.io.strata import census, pixels_of
from sscl_geo.ops.area_estimation import Z95, AreaAssessment, estimate
from sscl_geo.ops.sampling import equal, ranks
from sscl_geo.stages.assess import assess
from sscl_geo.stages.sample import (
    EqualSize,
    ProportionalSize,
    SampleRequest,
    draw_sample,
    sample_size,
)
from tests.drawn_maps import LEGEND, draw_map, drawn
from tests.owners import owners

TREES, CROPS, WATER = 10, 40, 80
SHAPE = (540, 420)
ONE = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=SHAPE, tile_px=256)


def classes() -> np.ndarray:
    """Return mostly crops, some trees, three pixels of water, and a hole."""
    found = np.where(np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) % 7 < 2, TREES, CROPS)
    found[10, 10] = found[300, 300] = found[539, 419] = WATER
    found[100:150, 100:200] = 0
    return found


def truth() -> np.ndarray:
    """Return what is there: a fifth of the mapped trees are crops, a part of the crops is water."""
    rng = np.random.default_rng(4)
    real = classes()
    real[(classes() == TREES) & (rng.random(SHAPE) < 0.2)] = CROPS
    real[(classes() == CROPS) & (rng.random(SHAPE) < 0.1)] = WATER
    return real


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_map(tmp_path_factory.mktemp("map") / "map.zarr", [ONE], drawn(classes()))


def sampled(mapped: Path, out: Path, points: int = 75, seed: int = 0) -> Path:
    request = SampleRequest(map=location(mapped), size=EqualSize(per_class=points), seed=seed)
    draw_sample(request, out)
    return out


def edit(path: Path, change: Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame]) -> None:
    """Change the layer of points as an interpreter's GIS would."""
    points = change(geopandas.read_file(path, layer=POINTS))
    pyogrio.write_dataframe(points, path, POINTS, "GPKG", append=False)


def interpret(path: Path) -> Path:
    """Fill in what is there."""

    def filled(points: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        points["reference"] = truth()[points["row"], points["column"]].astype(np.int32)
        return points

    edit(path, filled)
    return path


def result(mapped: Path, points: Path, out: Path, *, may_miss: bool = False) -> AreaAssessment:
    return assess(location(mapped), points, out, may_miss=may_miss)


def test_interpreters_see_points_at_pixel_centres_and_not_what_the_map_says(
    mapped: Path, tmp_path: Path
) -> None:
    path = sampled(mapped, tmp_path / "points.gpkg")
    points = geopandas.read_file(path, layer=POINTS)
    assert points.crs.to_epsg() == 4326
    assert [*points.columns] == [
        *("id", "zone", "row", "column", "x", "y", "reference", "note", "geometry")
    ]
    assert points["id"].tolist() == list(range(1, len(points) + 1))
    assert points["reference"].isna().all()
    hidden = pyogrio.read_dataframe(path, STRATA, read_geometry=False)
    assert hidden["id"].tolist() == points["id"].tolist()
    assert hidden["map_class"].to_numpy() == pytest.approx(
        classes()[points["row"], points["column"]]
    )
    assert hidden["map_class"].value_counts().to_dict() == {TREES: 75, CROPS: 75, WATER: 3}
    # The order of the points tells nothing of their class.
    assert (np.diff(hidden["map_class"]) != 0).sum() > 40
    local = points.to_crs("EPSG:32633").geometry
    assert local.x.to_numpy() == pytest.approx(points["x"].to_numpy(), abs=1e-3)
    assert local.x.to_numpy() == pytest.approx(500040 + 10 * points["column"] + 5, abs=1e-3)
    assert local.y.to_numpy() == pytest.approx(5800020 - 10 * points["row"] - 5, abs=1e-3)
    assert not points.duplicated(["row", "column"]).any()


def test_qgis_finds_a_form_with_the_classes_of_the_legend(mapped: Path, tmp_path: Path) -> None:
    path = sampled(mapped, tmp_path / "points.gpkg")
    with sqlite3.connect(path) as package:
        table, column, is_default, qml = package.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchone()
        (geometry,) = package.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (table,)
        ).fetchone()
        kinds = dict(package.execute("SELECT table_name, data_type FROM gpkg_contents"))
    package.close()
    assert (table, column, is_default) == (POINTS, geometry, 1)
    assert kinds == {
        "points": "features", "hidden_strata": "attributes", "design": "attributes",
        "layer_styles": "attributes",
    }  # fmt: skip
    root = ET.fromstring(qml)  # noqa: S314 - our own text
    field = root.find("fieldConfiguration/field[@name='reference']/editWidget[@type='ValueMap']")
    assert field is not None
    choices = {
        option.get("name"): option.get("value")
        for option in field.findall("config/Option/Option[@name='map']/Option/Option")
    }
    assert str(choices.pop("not yet")).startswith("{")
    assert choices == {item.name: str(item.value) for item in LEGEND.classes}
    fixed = {each.get("name") for each in root.findall("editable/field[@editable='0']")}
    assert fixed == {"id", "zone", "row", "column", "x", "y"}
    rules = root.findall("renderer-v2/rules/rule")
    symbols = {each.get("name") for each in root.findall("renderer-v2/symbols/symbol")}
    assert {rule.get("symbol") for rule in rules} == symbols
    assert '"reference" IS NULL' in {rule.get("filter") for rule in rules}


def test_the_seed_decides_the_sample(mapped: Path, tmp_path: Path) -> None:
    frames = [
        geopandas.read_file(sampled(mapped, tmp_path / f"{name}.gpkg", seed=seed), layer=POINTS)
        for name, seed in (("one", 5), ("two", 5), ("three", 6))
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    places = [set(zip(frame["row"], frame["column"], strict=True)) for frame in frames]
    assert len(places[0] & places[2]) < 20


def test_a_sample_that_exists_is_never_replaced(mapped: Path, tmp_path: Path) -> None:
    path = sampled(mapped, tmp_path / "points.gpkg")
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="may have been interpreted"):
        sampled(mapped, path)
    assert path.read_bytes() == before
    with pytest.raises(InvalidInputError, match=r"must end in \.gpkg"):
        sampled(mapped, tmp_path / "points.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["points.gpkg"]


def test_a_map_without_a_class_gives_no_sample(tmp_path: Path) -> None:
    blank = draw_map(tmp_path / "blank.zarr", [ONE], drawn(np.zeros(SHAPE)))
    with pytest.raises(InvalidInputError, match="no pixel with a class"):
        sampled(blank, tmp_path / "points.gpkg")
    assert not (tmp_path / "points.gpkg").exists()


def test_points_of_several_zones_lie_where_their_zone_owns_the_ground(tmp_path: Path) -> None:
    grids = grids_of(Area(bbox=BBox(5.99, 45, 6.01, 45.01)), "auto", 256)

    def stripes(_: Grid, window: Window) -> np.ndarray:
        row = np.where(np.arange(window.x, window.x + window.width) % 2, TREES, CROPS)
        return np.tile(row, (window.height, 1))

    path = draw_map(tmp_path / "two.zarr", grids, stripes)
    request = SampleRequest(map=location(path), size=ProportionalSize(total=400, fewest=10), seed=1)
    design = draw_sample(request, tmp_path / "points.gpkg")
    assert sum(stratum.points for stratum in design.strata) == pytest.approx(400, abs=1)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer=POINTS)
    assert set(points["zone"]) == {grid.zone for grid in grids}
    for zone, place in zip(points["zone"], points.geometry, strict=True):
        assert [tile.zone for tile in owners(grids, place.x, place.y)] == [zone]


def test_a_filled_sample_tells_the_truth_within_its_errors(mapped: Path, tmp_path: Path) -> None:
    points = interpret(sampled(mapped, tmp_path / "points.gpkg", points=300))
    found = result(mapped, points, tmp_path / "assessment.json")
    is_mapped = classes() != 0
    assert found.hectares == pytest.approx(is_mapped.sum() / 100 / 0.9996**2, rel=1e-5)
    for item in found.classes:
        real = ((truth() == item.value) & is_mapped).sum() / 100 / 0.9996**2
        mapped_ha = (classes() == item.value).sum() / 100 / 0.9996**2
        assert item.mapped_ha == pytest.approx(mapped_ha, rel=1e-5)
        assert abs(item.adjusted_ha - real) < 3.3 * item.standard_error_ha + 1e-6
    water = found.classes[-1]
    # Of all its three pixels each is in the sample: the map has hardly any of the water there is.
    assert (water.points, water.users, water.users_error) == (3, 1, 0)
    assert water.producers is not None
    assert water.producers < 0.01
    assert water.adjusted_ha > 1000 * water.mapped_ha
    right = (truth() == classes())[is_mapped].mean()
    assert abs(found.overall - right) < 3.3 * found.overall_error
    kept = AreaAssessment.model_validate(json.loads((tmp_path / "assessment.json").read_text()))
    assert kept == found


def test_the_intervals_of_many_samples_hold_the_truth(mapped: Path) -> None:
    counted = census(Classes.open(mapped, "map"))
    pixels, real = counted.pixels.sum(axis=0), truth()[classes() != 0]
    truth_of = truth().tolist()
    share, repeats, held = (real == TREES).mean(), 80, 0
    for seed in range(repeats):
        drawn_ranks = ranks(pixels, equal(pixels, 100), seed)
        matrix = np.zeros((3, 3), np.int64)
        for pixel in pixels_of(Classes.open(mapped, "map"), counted.pixels, drawn_ranks):
            found = truth_of[pixel.row][pixel.column]
            matrix[LEGEND.values.index(pixel.value), LEGEND.values.index(found)] += 1
        estimated = estimate(matrix, counted.hectares, pixels)
        held += abs(estimated.shares[0] - share) <= Z95 * estimated.shares_error[0]
    low, high = binom.interval(0.999, repeats, 0.95)
    assert low <= held <= high


def test_unfilled_points_are_refused_by_their_number_or_left_out(
    mapped: Path, tmp_path: Path
) -> None:
    points = interpret(sampled(mapped, tmp_path / "points.gpkg"))

    def thinned(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        frame["reference"] = frame["reference"].astype("Int32")
        trees = frame.index[classes()[frame["row"], frame["column"]] == TREES]
        frame.loc[trees[:4], "reference"] = pd.NA
        return frame.drop(trees[4:6])

    edit(points, thinned)
    with pytest.raises(InvalidInputError, match=r"6 of 153 points have no reference.*--allow-m"):
        result(mapped, points, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
    found = result(mapped, points, tmp_path / "a.json", may_miss=True)
    assert (found.points, found.missing) == (147, 6)
    assert found.classes[0].points == 69


def test_answers_are_taken_from_columns_of_any_type(mapped: Path, tmp_path: Path) -> None:
    points = interpret(sampled(mapped, tmp_path / "points.gpkg"))
    wanted = result(mapped, points, tmp_path / "a.json")
    for kind in ("float64", "str"):
        edit(points, lambda frame, kind=kind: frame.astype({"reference": kind}))  # type: ignore[misc]
        assert result(mapped, points, tmp_path / "a.json") == wanted
    edit(points, lambda frame: frame.to_crs("EPSG:3857"))
    assert result(mapped, points, tmp_path / "a.json") == wanted


Broken = tuple[Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame], str]


def _with(**columns: object) -> Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame]:
    def changed(points: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        for name, value in columns.items():
            points.loc[points.index[5], name] = value
        return points

    return changed


def _moved(metres: float) -> Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame]:
    def changed(points: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        local = points.geometry.to_crs("EPSG:32633")
        local.iloc[5] = local.translate(metres).iloc[5]
        return points.set_geometry(local.to_crs("EPSG:4326"))

    return changed


def _only_two_trees(points: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    trees = points.index[classes()[points["row"], points["column"]] == TREES]
    return points.drop(trees[1:])


BROKEN: dict[str, Broken] = {
    "outside": (_moved(20000), "point 6 lies outside the map"),
    "moved": (_moved(10), "point 6 was moved off its pixel"),
    "unknown class": (_with(reference=7), "point 6 has the reference 7; the legend has 10, 40, 80"),
    "twice": (_with(id=3), "point 3 is there twice"),
    "nameless": (_with(id=None), "a point has no id"),
    "added": (_with(id=999), "point 999 was not drawn"),
    "no column": (lambda points: points.drop(columns="reference"), "lost its column 'reference'"),
    "no number": (lambda points: points.drop(columns="id"), "lost its column 'id'"),
    "too few": (_only_two_trees, r"class 10 \(Tree cover\) covers .* ha of the map and has 1 poin"),
    "none": (
        lambda points: points[classes()[points["row"], points["column"]] != CROPS],
        r"class 40 \(Cropland\) .* has 0 points",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_sample_is_refused_and_nothing_is_written(
    kind: str, mapped: Path, tmp_path: Path
) -> None:
    change, told = BROKEN[kind]
    points = interpret(sampled(mapped, tmp_path / "points.gpkg"))
    edit(points, change)
    with pytest.raises(InvalidInputError, match=told) as error:
        result(mapped, points, tmp_path / "a.json", may_miss=kind in {"too few", "none"})
    assert f"--reference {points}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.json").exists()


def test_points_without_a_crs_or_a_place_are_refused(mapped: Path, tmp_path: Path) -> None:
    points = interpret(sampled(mapped, tmp_path / "points.gpkg"))
    edit(points, _with(geometry=None))
    with pytest.raises(InvalidInputError, match="point 6 lies outside the map"):
        result(mapped, points, tmp_path / "a.json")
    bare = interpret(sampled(mapped, tmp_path / "bare.gpkg"))
    with pytest.warns(UserWarning, match="crs"):
        edit(bare, lambda frame: frame.set_crs(None, allow_override=True))
    with pytest.raises(InvalidInputError, match="has no CRS"):
        result(mapped, bare, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_a_sample_of_another_map_or_none_at_all_is_refused(mapped: Path, tmp_path: Path) -> None:
    other = draw_map(tmp_path / "other.zarr", [ONE], drawn(classes()))
    points = interpret(sampled(other, tmp_path / "points.gpkg"))
    assert Classes.open(other, "map").legend == LEGEND
    with pytest.raises(InvalidInputError, match="drawn on another map"):
        result(mapped, points, tmp_path / "a.json")
    export = tmp_path / "export.gpkg"
    geopandas.read_file(points, layer=POINTS).to_file(export)
    (tmp_path / "rubbish.gpkg").write_bytes(b"SQLite format 3\0rubbish")
    (tmp_path / "text.gpkg").write_text("id,reference\n")
    for name, told in (
        ("export.gpkg", "is not a sample with its design"),
        ("text.gpkg", "is not a sample with its design"),
        ("rubbish.gpkg", "cannot be read"),
        ("absent.gpkg", "no such file"),
    ):
        with pytest.raises(InvalidInputError, match=told) as error:
            result(mapped, tmp_path / name, tmp_path / "a.json")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "a.json").exists()


def test_sizes_of_both_kinds_at_once_are_refused() -> None:
    assert sample_size(None, None, None) == EqualSize(per_class=75)
    assert sample_size(None, 900, None) == ProportionalSize(total=900, fewest=50)
    with pytest.raises(InvalidInputError, match="give one of the two"):
        sample_size(75, 900, None)
    with pytest.raises(InvalidInputError, match="give both"):
        sample_size(None, None, 30)
