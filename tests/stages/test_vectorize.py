"""Polygons of a map: no seam of tiles, no speck, no ground lost."""

from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from scipy.ndimage import gaussian_filter

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.areas import class_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.stages.vectorize import vectorize
from tests.drawn_maps import LEGEND, draw_map, drawn

CRS = "EPSG:32633"
ORIGIN = (500040, 5800020)
SHAPE = (600, 540)


def grid(tile_px: int = 256) -> Grid:
    return Grid(crs=CRS, origin=ORIGIN, shape=SHAPE, tile_px=tile_px)


def classes(seed: int = 1) -> np.ndarray:
    """Return blobs with specks, and a hole."""
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.standard_normal(SHAPE), 4) for _ in range(3)])
    found: np.ndarray = np.array([10, 40, 80])[fields.argmax(0)]
    specks = rng.random(SHAPE) < 0.02
    found[specks] = rng.choice([10, 40, 80], specks.sum())
    found[200:300, 230:290] = 0
    found[250, 250:253] = 80
    return found


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_map(tmp_path_factory.mktemp("map") / "map.zarr", [grid()], drawn(classes()))


def polygons(mapped: Path, out: Path, smallest_ha: float) -> geopandas.GeoDataFrame:
    count = vectorize(mapped, out, smallest_ha)
    found = geopandas.read_parquet(out)
    assert len(found) == count
    return found


def burned(found: geopandas.GeoDataFrame) -> np.ndarray:
    pairs = zip(found.geometry, found["class"], strict=True)
    transform = Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
    image = np.zeros(SHAPE, np.uint8)
    rasterio.features.rasterize(pairs, out=image, transform=transform)
    return image


@pytest.mark.parametrize("smallest_ha", [0, 0.5, 3])
def test_the_polygons_are_the_same_whatever_the_tile_size(
    smallest_ha: float, mapped: Path, tmp_path: Path
) -> None:
    one = polygons(mapped, tmp_path / "one.parquet", smallest_ha)
    for tile_px in (512, 768):
        other = draw_map(tmp_path / f"{tile_px}.zarr", [grid(tile_px)], drawn(classes()))
        two = polygons(other, tmp_path / f"{tile_px}.parquet", smallest_ha)
        assert one["class"].tolist() == two["class"].tolist()
        assert one.geometry.to_wkb().tolist() == two.geometry.to_wkb().tolist()
        assert one["area_ha"].to_numpy() == pytest.approx(two["area_ha"].to_numpy(), abs=2e-4)


def test_without_a_least_area_the_polygons_are_the_map(mapped: Path, tmp_path: Path) -> None:
    found = polygons(mapped, tmp_path / "all.parquet", 0)
    assert found.crs.to_epsg() == 32633
    assert found.geometry.is_valid.all()
    assert (found.geometry.geom_type == "Polygon").all()
    assert np.array_equal(burned(found), classes())
    sums = found.groupby("class")["area_ha"].sum()
    hectares = class_hectares(Classes.open(mapped, "map"))
    assert sums.to_numpy() == pytest.approx(hectares[[10, 40, 80]], abs=0.1)
    assert found["area_ha"].to_numpy() == pytest.approx(
        found.geometry.area.to_numpy() / 10000 / 0.9996**2, rel=1e-4, abs=1e-4
    )
    names = dict(zip(LEGEND.values, LEGEND.names, strict=True))
    assert found["name"].tolist() == [names[value] for value in found["class"]]


def test_small_pieces_join_a_neighbour_and_the_ground_stays_whole(
    mapped: Path, tmp_path: Path
) -> None:
    found = polygons(mapped, tmp_path / "half.parquet", 0.5)
    everything = polygons(mapped, tmp_path / "all.parquet", 0)
    assert len(found) < len(everything) / 5
    small = found[found.geometry.area < 5000]
    # Only the island within the hole has no neighbour.
    assert small.geometry.area.tolist() == [300]
    assert found.geometry.is_valid.all()
    image = burned(found)
    assert ((image == 0) == (classes() == 0)).all()
    assert (image == classes()).mean() > 0.95
    assert found["area_ha"].sum() == pytest.approx(everything["area_ha"].sum(), abs=0.1)
    # Dissolved: no two polygons of one class share an edge.
    for _, group in found.groupby("class"):
        tree = shapely.STRtree(group.geometry.to_numpy())
        one, two = tree.query(group.geometry.to_numpy(), predicate="intersects")
        shapes = group.geometry.to_numpy()
        apart = one < two
        shared = shapely.intersection(shapes[one[apart]], shapes[two[apart]])
        assert (shapely.length(shared) == 0).all()


@settings(max_examples=6)
@given(seed=st.integers(0, 2**31))
def test_noise_gives_valid_polygons_that_fill_the_map(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    small = Grid(crs=CRS, origin=ORIGIN, shape=(270, 264), tile_px=256)
    noise = np.random.default_rng(seed).choice([0, 10, 40], small.shape, p=[0.2, 0.4, 0.4])
    noise[:240, :240] = 10
    path = draw_map(folder / "map.zarr", [small], drawn(noise))
    found = polygons(path, folder / "all.parquet", 0)
    assert found.geometry.is_valid.all()
    assert found.geometry.area.sum() == 100 * (noise > 0).sum()
    image = burned(found)[:270, :264]
    assert np.array_equal(image, noise)


def test_a_geopackage_has_one_layer(mapped: Path, tmp_path: Path) -> None:
    count = vectorize(mapped, tmp_path / "landcover.gpkg", 0.5)
    assert pyogrio.list_layers(tmp_path / "landcover.gpkg").tolist() == [
        ["landcover", "MultiPolygon"]
    ]
    found = geopandas.read_file(tmp_path / "landcover.gpkg")
    assert len(found) == count
    assert [*found.columns] == ["class", "name", "area_ha", "geometry"]
    assert [path.name for path in tmp_path.iterdir()] == ["landcover.gpkg"]


def test_zones_meet_without_an_overlap(tmp_path: Path) -> None:
    grids = grids_of(Area(bbox=BBox(5.99, 45, 6.01, 45.01)), "auto", 256)

    def water(_: Grid, window: Window) -> np.ndarray:
        return np.full(window[2:], 80)

    path = draw_map(tmp_path / "map.zarr", grids, water)
    found = polygons(path, tmp_path / "out.parquet", 0.5)
    assert found.crs.to_epsg() == 4326
    assert len(found) == 2
    hectares = class_hectares(Classes.open(path, "map"))[80]
    assert found["area_ha"].sum() == pytest.approx(hectares, abs=0.01)
    one, two = found.to_crs("EPSG:3035").geometry
    assert one.intersection(two).area < 2 * 10 * one.intersection(two.buffer(10)).length


def test_polygons_that_run_over_the_antimeridian_are_cut_there(tmp_path: Path) -> None:
    grids = grids_of(Area(bbox=BBox(179.98, -17, -179.98, -16.98)), "auto", 256)
    assert [grid.crs for grid in grids] == ["EPSG:32760", "EPSG:32701"]
    path = draw_map(tmp_path / "map.zarr", grids, lambda _, window: np.full(window[2:], 80))
    found = polygons(path, tmp_path / "out.parquet", 0.5)
    assert found.geometry.is_valid.all()
    pieces = found.geometry.explode()
    assert (pieces.bounds.maxx - pieces.bounds.minx < 0.1).all()
    ground = sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(one)[0]) for one in pieces)
    assert ground / 1e4 == pytest.approx(found["area_ha"].sum(), rel=1e-3)


def test_what_breaks_a_rule_is_refused_and_nothing_is_written(mapped: Path, tmp_path: Path) -> None:
    blank = draw_map(tmp_path / "blank.zarr", [grid()], drawn(np.zeros(SHAPE)))
    for path, out, smallest, told in (
        (mapped, "a.shp", 0.5, r"must end in \.parquet or \.gpkg"),
        (mapped, "a.parquet", -1.0, "--min-area -1.0"),
        (mapped, "a.parquet", float("nan"), "--min-area nan"),
        (blank, "a.parquet", 0.5, "no pixel with a class"),
        (tmp_path / "absent.zarr", "a.parquet", 0.5, "not found; give the path of a map"),
    ):
        with pytest.raises(InvalidInputError, match=told):
            vectorize(path, tmp_path / out, smallest)
    assert {each.name for each in tmp_path.iterdir()} == {"blank.zarr"}
