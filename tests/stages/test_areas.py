"""Areas: each place once, as large as it is on the ground, and no hole taken for a zero."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from shapely.geometry import Polygon, box

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.surface import band_hectares
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.areas import class_hectares, zonal_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.io.polygons import Polygons
from sscl_geo.io.region import read_region
from sscl_geo.stages.areas import AreasRequest, measure_areas
from tests.drawn_maps import draw_map, drawn

CRS = "EPSG:32633"
LEFT, TOP = 500040, 5800020
SHAPE = (300, 420)
TREES, CROPS, WATER = 10, 40, 80


def grid(tile_px: int = 256) -> Grid:
    return Grid(crs=CRS, origin=(LEFT, TOP), shape=SHAPE, tile_px=tile_px)


def noise(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).choice(
        [0, TREES, CROPS, WATER], SHAPE, p=[0.1, 0.4, 0.4, 0.1]
    )


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_map(tmp_path_factory.mktemp("map") / "map.zarr", [grid()], drawn(noise()))


def zones(path: Path, shapes: list[Any], names: list[Any], crs: str | None = CRS) -> Path:
    geopandas.GeoDataFrame({"name": names}, geometry=shapes, crs=crs).to_file(path)
    return path


def measured(mapped: Path, out: Path, **options: Any) -> pd.DataFrame:
    measure_areas(AreasRequest(map=mapped, **options), out)
    return pd.read_csv(out) if out.suffix == ".csv" else pd.read_parquet(out)


def test_a_table_has_every_class_the_unmapped_ground_and_the_warning(
    mapped: Path, tmp_path: Path
) -> None:
    found = measured(mapped, tmp_path / "areas.csv")
    assert found["value"].tolist() == [TREES, CROPS, WATER, 0]
    assert found["class"].tolist() == ["Tree cover", "Cropland", "Water", "unmapped"]
    counts = np.bincount(noise().ravel(), minlength=256)[[TREES, CROPS, WATER, 0]]
    # On the central meridian the scale is 0.9996, so that ground is larger than its pixels.
    assert found["counted_ha"].to_numpy() == pytest.approx(counts / 100 / 0.9996**2, rel=1e-6)
    assert found["share_percent"].sum() == pytest.approx(100)
    assert found["note"].str.contains("biased").all()
    same = measured(mapped, tmp_path / "areas.parquet")
    pd.testing.assert_frame_equal(same, found, check_dtype=False)
    assert b"biased" in pq.read_schema(tmp_path / "areas.parquet").metadata[b"description"]


def test_the_tiles_do_not_show_in_the_areas(mapped: Path, tmp_path: Path) -> None:
    other = draw_map(tmp_path / "other.zarr", [grid(512)], drawn(noise()))
    one, two = (class_hectares(Classes.open(path, "map")) for path in (mapped, other))
    assert one == pytest.approx(two, rel=1e-12)


@pytest.mark.parametrize("place", [BBox(5.9, 45, 6.1, 45.03), BBox(20, -0.02, 20.03, 0.02)])
def test_zones_of_utm_add_up_to_the_ground_of_a_polygon(place: BBox, tmp_path: Path) -> None:
    grids = grids_of(Area(bbox=place), "auto", 256)
    assert len(grids) == 2
    path = draw_map(tmp_path / "m.zarr", grids, lambda _, window: np.full(window[2:], CROPS))
    parts = [box(*place), box(place.west, place.south, (place.west + place.east) / 2, place.north)]
    file = zones(tmp_path / "z.geojson", parts, ["all", "half"], "EPSG:4326")
    found = measured(path, tmp_path / "a.csv", zones=file, column="name")
    whole = found[(found["zone"] == "all") & (found["value"] == CROPS)].iloc[0]
    half = found[(found["zone"] == "half") & (found["value"] == CROPS)].iloc[0]
    assert whole.counted_ha == pytest.approx(whole.zone_ha, rel=2e-3)
    assert half.counted_ha == pytest.approx(whole.counted_ha / 2, rel=3e-3)
    assert whole.covered_percent == pytest.approx(100, abs=0.2)
    # The same place counted twice would be far more than the polygon.
    assert class_hectares(Classes.open(path, "map"))[CROPS] < 1.2 * whole.zone_ha


def test_overlapping_zones_each_count_and_a_zone_outside_says_so(
    mapped: Path, tmp_path: Path
) -> None:
    shapes = [
        box(LEFT, TOP - 1000, LEFT + 2000, TOP),
        box(LEFT + 1000, TOP - 1000, LEFT + 3000, TOP),
        box(LEFT - 50000, TOP, LEFT - 40000, TOP + 1000),
        box(LEFT - 1000, TOP - 1000, LEFT + 1000, TOP),
        box(LEFT + 3000, TOP - 1000, LEFT + 3100, TOP),
    ]
    file = zones(tmp_path / "z.gpkg", shapes, ["a", "b", "far", "edge", "b"])
    found = measured(mapped, tmp_path / "a.csv", zones=file, column="name")
    assert found["zone"].unique().tolist() == ["a", "b", "far", "edge"]
    table = found.pivot_table(index="zone", columns="value", values="counted_ha")
    expected = {"a": (0, 200), "b": (100, 310), "edge": (0, 100)}
    for name, (first, last) in expected.items():
        counts = np.bincount(noise()[:100, first:last].ravel(), minlength=256) / 100 / 0.9996**2
        assert table.loc[name, [0, TREES, CROPS, WATER]].to_numpy() == pytest.approx(
            counts[[0, TREES, CROPS, WATER]], rel=1e-5
        )
    far = found[found["zone"] == "far"]
    assert (far["counted_ha"] == 0).all()
    assert far["note"].str.startswith("outside").all()
    assert far["zone_ha"].iloc[0] == pytest.approx(1000 / 0.9996**2, rel=1e-3)
    covered = found.groupby("zone")["covered_percent"].first()
    assert covered["edge"] == pytest.approx(50, abs=0.01)
    assert covered[["a", "b"]].tolist() == pytest.approx([100, 100], abs=0.01)
    assert covered["far"] == 0


@settings(max_examples=30)
@given(
    corners=st.lists(
        st.tuples(st.floats(-800, 5000), st.floats(-800, 3800)), min_size=3, max_size=6
    ),
    crs=st.sampled_from([CRS, "EPSG:4326", "EPSG:3035", "EPSG:2154"]),
)
def test_a_pixel_is_in_a_zone_if_its_centre_is(
    corners: list[tuple[float, float]], crs: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = Polygon([(LEFT + x, TOP - y) for x, y in corners]).convex_hull
    if shape.area < 1000:
        return
    folder = tmp_path_factory.mktemp("zone")
    fine = geopandas.GeoSeries([shapely.segmentize(shape, 100)], crs=CRS).to_crs(crs)
    file = folder / "z.gpkg"
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=fine, crs=crs).to_file(file)
    inside = np.zeros(SHAPE, np.bool_)
    held = Polygons(file, "name", "--zones")
    for tile in grid().tiles:
        window = grid().window(tile)
        for _, slices, is_inside in held.on(grid(), window):
            inside[window.slices][slices] |= is_inside
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    points = LEFT + 10 * (x + 0.5), TOP - 10 * (y + 0.5)
    sure = shapely.contains_xy(shape.buffer(-0.1), *points)
    possible = shapely.contains_xy(shape.buffer(0.1), *points)
    assert not (sure & ~inside).any()
    assert not (inside & ~possible).any()


def test_long_edges_bend_as_the_ground_does(tmp_path: Path) -> None:
    # A parallel of 40 degrees: in UTM it lies kilometres above the line between its ends.
    place = BBox(12, 49.99, 18, 50.01)
    grids = grids_of(Area(bbox=place), "auto", 2048)
    middle = grids[0].shape[1] // 2 * 10 + grids[0].origin[0]
    x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(15.0, 50.0)
    assert abs(x - middle) < 1000
    small = Grid(crs=CRS, origin=(int(x) // 60 * 60, int(y) // 60 * 60 + 600), shape=(120, 120))
    path = draw_map(tmp_path / "m.zarr", [small], lambda _, window: np.full(window[2:], WATER))
    file = zones(tmp_path / "z.geojson", [box(12, 50, 18, 52)], ["north"], "EPSG:4326")
    found = zonal_hectares(Classes.open(path, "map"), Polygons(file, "name", "--zones"))
    rows = (small.origin[1] - y) // 10
    assert found[0, WATER] == pytest.approx(rows * 120 / 100, rel=0.02)


def test_a_zone_that_reaches_far_beyond_a_grid_holds_all_of_it(tmp_path: Path) -> None:
    wide = Grid(crs="EPSG:3035", origin=(2_500_080, 2_400_000), shape=(60, 400_020))
    held = Polygons(
        zones(tmp_path / "z.geojson", [box(-60, 5, 80, 80)], ["all"], "EPSG:4326"), "name", "--z"
    )
    for column in (0, 100_000, 200_000, 399_900):
        window = Window(0, column, 60, 60)
        (hold,) = held.on(wide, window)
        assert hold.is_inside.all()
        assert hold.is_inside.shape == (60, 60)


def test_an_edge_over_the_antimeridian_is_refused_and_one_around_the_world_is_not(
    tmp_path: Path,
) -> None:
    fiji = Polygon([(179.8, -17), (-179.8, -17), (-179.8, -16.6), (179.8, -16.6)])
    file = zones(tmp_path / "z.geojson", [fiji], ["fiji"], "EPSG:4326")
    with pytest.raises(InvalidInputError, match=r"longitude 179\.8 to -179\.8; cut it at 180"):
        Polygons(file, "name", "--zones")
    with pytest.raises(InvalidInputError, match="cut it at 180"):
        read_region(file)
    belt = zones(tmp_path / "b.geojson", [box(-180, -10, 180, 10)], ["belt"], "EPSG:4326")
    assert Polygons(belt, "name", "--zones").hectares[0] == pytest.approx(
        band_hectares(np.array([-10.0, 10.0]), 360)[0], rel=1e-4
    )


def test_a_zone_over_the_antimeridian_is_whole(tmp_path: Path) -> None:
    one = Grid(crs="EPSG:32760", origin=(810000, 8010000), shape=(1500, 1500), tile_px=1536)
    path = draw_map(tmp_path / "m.zarr", [one], lambda _, window: np.full(window[2:], WATER))
    parts = [box(179.95, -18.1, 180, -18.05), box(-180, -18.1, -179.97, -18.05)]
    file = zones(tmp_path / "z.geojson", [shapely.MultiPolygon(parts)], ["fiji"], "EPSG:4326")
    found = measured(path, tmp_path / "a.csv", zones=file, column="name")
    corners = [179.95, -179.97, -179.97, 179.95], [-18.1, -18.1, -18.05, -18.05]
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(*corners)
    assert found["zone_ha"].iloc[0] == pytest.approx(area / 10000, rel=1e-4)
    assert found["covered_percent"].iloc[0] == pytest.approx(100, abs=0.3)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent.gpkg", "no such file"),
        ("rubbish.gpkg", "cannot be read"),
        ("virtual.gpkg", "cannot be read: it is no .gpkg file"),
        ("zones.txt", "unknown kind"),
        ("bare.shp", "has no CRS"),
        ("points.geojson", "must hold polygons"),
        ("two.gpkg", "one layer of polygons, and has a, b"),
        ("drawing.gpkg", "has a CRS that is not of the Earth"),
        ("beyond.gpkg", "lies outside the world of its CRS"),
        ("nameless.gpkg", "column 'name' is empty in some rows"),
        ("other.gpkg", "no column 'name'; name one of label"),
    ],
)
def test_zones_that_are_none_are_refused_and_nothing_is_written(
    name: str, told: str, mapped: Path, tmp_path: Path
) -> None:
    bad_zones(tmp_path)
    request = AreasRequest(map=mapped, zones=tmp_path / name, column="name")
    with pytest.raises(InvalidInputError, match=told) as error:
        measure_areas(request, tmp_path / "areas.csv")
    assert f"--zones {tmp_path / name}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "areas.csv").exists()


def bad_zones(folder: Path) -> None:
    square = box(LEFT, TOP - 100, LEFT + 100, TOP)
    (folder / "rubbish.gpkg").write_bytes(b"SQLite format 3\0rubbish")
    (folder / "virtual.gpkg").write_text(
        "<OGRVRTDataSource><OGRVRTLayer name='two'><SrcDataSource>two.gpkg</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    (folder / "zones.txt").write_text("name\na\n")
    with pytest.warns(UserWarning, match="crs"):
        zones(folder / "bare.shp", [square], ["a"], crs=None)
    point = {"type": "Point", "coordinates": [15, 52]}
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": point}
    collection = {"type": "FeatureCollection", "features": [feature]}
    (folder / "points.geojson").write_text(json.dumps(collection))
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[square], crs=CRS)
    for layer in ("a", "b"):
        frame.to_file(folder / "two.gpkg", layer=layer)
    drawing = (
        'ENGCRS["drawing",EDATUM["board"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        'LENGTHUNIT["metre",1]]'
    )
    zones(folder / "drawing.gpkg", [square], ["a"], drawing)
    zones(folder / "beyond.gpkg", [box(1e15, 0, 2e15, 1e15)], ["a"])
    zones(folder / "nameless.gpkg", [square, square], ["a", None])
    frame.rename(columns={"name": "label"}).to_file(folder / "other.gpkg")


def test_other_arguments_that_break_a_rule_are_refused(mapped: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"must end in \.csv or \.parquet"):
        measure_areas(AreasRequest(map=mapped), tmp_path / "areas.xlsx")
    with pytest.raises(InvalidInputError, match="--column"):
        measure_areas(AreasRequest(map=mapped, zones=tmp_path / "z.gpkg"), tmp_path / "a.csv")
    with pytest.raises(InvalidInputError, match="not found; give the path of a map"):
        measure_areas(AreasRequest(map=tmp_path / "absent.zarr"), tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
