from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from shapely.geometry import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Block
from sscl_geo.io.labels import label_source
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import signer

CRS = "EPSG:32633"
LEFT, TOP = 500040.0, 5800020.0
BLOCK = Block(CRS, Affine(10, 0, LEFT, 0, -10, TOP), 12, 15)


def polygons(path: Path, crs: str | None = CRS, **columns: list[Any]) -> Path:
    """Write a left half and, over it, a square in its upper corner."""
    shapes = [
        box(LEFT, TOP - 120, LEFT + 70, TOP),
        Polygon([(LEFT, TOP), (LEFT + 30, TOP), (LEFT + 30, TOP - 40), (LEFT, TOP - 40)]),
    ]
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def expected() -> np.ndarray:
    labels = np.zeros((12, 15), np.int32)
    labels[:, :7] = 4
    labels[:4, :3] = 9
    return labels


@pytest.mark.parametrize("suffix", ["gpkg", "shp"])
def test_a_pixel_has_the_class_of_the_last_polygon_that_holds_its_centre(
    tmp_path: Path, suffix: str
) -> None:
    path = polygons(tmp_path / f"labels.{suffix}", klass=[4, 9])
    assert np.array_equal(label_source(path, "klass").on(BLOCK), expected())


def test_polygons_in_degrees_come_to_the_block(tmp_path: Path) -> None:
    path = polygons(tmp_path / "metres.gpkg", klass=[4, 9])
    frame = geopandas.read_file(path).to_crs("EPSG:4326")
    frame.to_file(tmp_path / "degrees.geojson", driver="GeoJSON", COORDINATE_PRECISION=12)
    assert np.array_equal(label_source(tmp_path / "degrees.geojson", "klass").on(BLOCK), expected())


def test_the_edges_of_polygons_are_straight_in_their_file(tmp_path: Path) -> None:
    # Degrees: the parallel of 52.35 from 5 to 25 E, which in UTM is no line between its ends.
    frame = geopandas.GeoDataFrame({"klass": [4]}, geometry=[box(5, 52.35, 25, 60)], crs=4326)
    frame.to_file(tmp_path / "wide.gpkg")
    x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(15.0, 52.35)
    north = Affine(10, 0, x - 60, 0, -10, y + 120)
    found = label_source(tmp_path / "wide.gpkg", "klass").on(Block(CRS, north, 24, 12))
    assert np.array_equal(found, np.repeat(np.where(np.arange(24) < 12, 4, 0)[:, None], 12, 1))


def test_the_blocks_of_a_tile_join_without_a_seam(tmp_path: Path) -> None:
    labels = label_source(polygons(tmp_path / "labels.gpkg", klass=[4, 9]), "klass")
    parts = []
    for column in range(0, 15, 5):
        moved = Affine(10, 0, LEFT + 10 * column, 0, -10, TOP)
        parts.append(labels.on(Block(CRS, moved, 12, 5)))
    assert np.array_equal(np.hstack(parts), expected())


def test_far_from_all_polygons_nothing_is_labelled(tmp_path: Path) -> None:
    labels = label_source(polygons(tmp_path / "labels.gpkg", klass=[4, 9]), "klass")
    far = Block(CRS, Affine(10, 0, LEFT + 1e5, 0, -10, TOP), 3, 4)
    assert not labels.on(far).any()


def raster(path: Path, values: np.ndarray, gsd: float, nodata: int | None) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1,
        dtype=values.dtype, crs=CRS, transform=Affine(gsd, 0, LEFT, 0, -gsd, TOP), nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


@pytest.mark.parametrize("name", ["labels.tif", "LABELS.TIF", "labels.tiff"])
def test_a_raster_on_the_same_pixels_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    values = expected().astype(np.uint8)
    path = raster(tmp_path / name, values, 10, 0)
    assert np.array_equal(label_source(path, "unused").on(BLOCK), values)


def test_the_nodata_of_a_raster_is_no_label(tmp_path: Path) -> None:
    values = np.where(expected() == 0, 255, expected()).astype(np.uint8)
    path = raster(tmp_path / "labels.tif", values, 10, 255)
    assert np.array_equal(label_source(path, "unused").on(BLOCK), expected())


def test_finer_pixels_give_their_most_frequent_class(tmp_path: Path) -> None:
    fine = np.repeat(np.repeat(expected(), 5, axis=0), 5, axis=1).astype(np.uint8)
    fine[::5, ::5][expected() > 0] = 7
    fine[1::5, 3::5][expected() > 0] = 7
    path = raster(tmp_path / "fine.tif", fine, 2, 255)
    assert np.array_equal(label_source(path, "unused").on(BLOCK), expected())


@pytest.mark.parametrize(
    ("crs", "gsd"),
    [
        ("EPSG:2263", 10),  # New York, in feet
        ("EPSG:2263", 16),
        ("EPSG:3857", 10),  # half as large on the ground at 60 N
        ("EPSG:32618", 5),
        ("EPSG:4326", 5e-5),
    ],
)
def test_pixels_that_are_finer_on_the_ground_give_their_most_frequent_class(
    tmp_path: Path, crs: str, gsd: float
) -> None:
    """One class in 20, on a chequerboard, is nowhere the most frequent."""
    place, zone = ((-74.0, 40.7), "EPSG:32618") if crs != "EPSG:3857" else ((15.0, 60.0), CRS)
    values = np.full((200, 200), 4, np.uint8)
    values[::4, ::5] = 9
    left, top = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    form = {"driver": "GTiff", "width": 200, "height": 200, "count": 1, "dtype": "uint8"}
    ground = Affine(gsd, 0, left - 100 * gsd, 0, -gsd, top + 100 * gsd)
    with rasterio.open(tmp_path / "fine.tif", "w", **form, crs=crs, transform=ground) as file:
        file.write(values, 1)
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(*place)
    block = Block(zone, Affine(10, 0, x - 150, 0, -10, y + 150), 30, 30)
    assert np.array_equal(np.unique(label_source(tmp_path / "fine.tif", "unused").on(block)), [4])


def test_real_land_cover_lies_where_rasterio_puts_it(realdata: Path) -> None:
    (path,) = (realdata / "stac" / "land-cover" / "LULC_38D_378R_2_3_2023").glob("*.tif")
    with rasterio.open(path) as dataset:
        values = dataset.read(1)
        block = Block(str(dataset.crs), dataset.transform, *dataset.shape)
        x, y = dataset.lnglat()
        crs = str(dataset.crs)
    assert np.array_equal(label_source(path, "unused").on(block), values)
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(x, y)
    middle = Block(crs, Affine(10, 0, x - 48.3, 0, -10, y + 51.7), 10, 10)
    found = label_source(path, "unused").on(middle)
    assert set(np.unique(found)) <= set(np.unique(values))
    assert found.all()


def test_a_missing_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = polygons(tmp_path / "labels.gpkg", klass=[4, 9], plot=[1, 2])
    with pytest.raises(
        InvalidInputError, match=r"no column 'class' of .*; name one of klass, plot"
    ):
        label_source(path, "class")


@pytest.mark.parametrize("values", [[1.5, 2.0], ["wood", "water"], [1, None], [1, 2**31]])
def test_a_column_that_holds_no_whole_numbers_is_refused(tmp_path: Path, values: list[Any]) -> None:
    path = polygons(tmp_path / "labels.gpkg", klass=values)
    with pytest.raises(InvalidInputError, match="column 'klass' must hold whole numbers"):
        label_source(path, "klass")


@pytest.mark.parametrize(
    "shape", [Point(LEFT, TOP), LineString([(LEFT, TOP), (LEFT + 90, TOP - 90)])]
)
def test_what_is_no_polygon_is_refused(tmp_path: Path, shape: BaseGeometry) -> None:
    shapes = [box(LEFT, TOP - 120, LEFT + 70, TOP), shape, Polygon(), None]
    frame = geopandas.GeoDataFrame({"klass": [4, 9, 1, 1]}, geometry=shapes, crs=CRS)
    frame.to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(InvalidInputError, match=r"1 of its 4 geometries are no polygons.*buffer"):
        label_source(tmp_path / "mixed.parquet", "klass")
    frame.drop(1).to_parquet(tmp_path / "areal.parquet")
    assert label_source(tmp_path / "areal.parquet", "klass").on(BLOCK)[0, 0] == 4


def test_whole_numbers_that_a_program_keeps_as_decimals_are_whole(tmp_path: Path) -> None:
    whole = polygons(tmp_path / "whole.gpkg", klass=[4, 9])
    decimal = polygons(tmp_path / "decimal.gpkg", klass=[4.0, 9.0])
    found = [label_source(path, "klass").on(BLOCK) for path in (whole, decimal)]
    assert found[0].any()
    assert np.array_equal(found[0], found[1])


def test_a_raster_of_fine_pixels_is_read_in_parts_to_the_same_classes(tmp_path: Path) -> None:
    path = tmp_path / "fine.tif"
    values = np.random.default_rng(0).integers(1, 9, (1300, 1300)).astype(np.uint8)
    form = {"driver": "GTiff", "width": 1300, "height": 1300, "count": 1, "dtype": "uint8"}
    ground = Affine(5, 0, LEFT, 0, -5, TOP)
    with rasterio.open(path, "w", **form, crs=CRS, transform=ground) as file:
        file.write(values, 1)
    block = Block(CRS, Affine(10, 0, LEFT, 0, -10, TOP), 650, 650)
    with GeoTiffReader(signer("none")) as reader:
        whole = reader.read(str(path), block, 0, "classes")
    assert np.array_equal(label_source(path, "unused").on(block), whole)


def test_polygons_without_a_crs_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="crs"):
        path = polygons(tmp_path / "labels.shp", crs=None, klass=[4, 9])
    with pytest.raises(InvalidInputError, match="has no CRS"):
        label_source(path, "klass")


@pytest.mark.parametrize("name", ["labels.csv", "labels", "labels.vrt", "labels.png"])
def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("class\n1\n")
    with pytest.raises(InvalidInputError, match=r"unknown kind; give a GeoTIFF.*\.gpkg"):
        label_source(tmp_path / name, "class")


@pytest.mark.parametrize("name", ["labels.tif", "labels.gpkg", "labels.geojson", "labels.shp"])
def test_an_absent_or_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="no such file"):
        label_source(tmp_path / name, "class")
    (tmp_path / name).write_text("rubbish")
    with pytest.raises(InvalidInputError, match=f"{name} cannot be read"):
        label_source(tmp_path / name, "class")
