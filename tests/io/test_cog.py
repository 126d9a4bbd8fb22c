from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from sscl_geo.geo.grid import Block, Grid, Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.publish.classes import legend_palette, publish_landcover
from sscl_geo.io.publish.cog import RasterProfile, write_cog, write_cog_blocks
from sscl_geo.io.store import Store

GRID = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(600, 702), tile_px=256)
WHOLE = Window(0, 0, *GRID.shape)
GROUND = GRID.block(WHOLE)
LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=1, name="wood", color="#00ff00"),
        LandClass(value=5, name="deep water", color="#0000ff"),
        LandClass(value=9, name="town", color="#ff0102"),
    ),
)
BYTES = RasterProfile("uint8", 0, overviews="mode")


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    coarse = np.random.default_rng(2).choice([0, 1, 5, 9], (60, 78))
    values = np.repeat(np.repeat(coarse, 10, axis=0), 9, axis=1).astype(np.uint8)
    values[::7, ::5] = 9
    return values


def tiles(array: np.ndarray) -> Iterator[tuple[Window, np.ndarray]]:
    for tile in GRID.tiles:
        window = GRID.window(tile)
        yield window, array[window.slices]


def test_block_by_block_makes_the_same_file_as_all_at_once(
    tmp_path: Path, classes: np.ndarray
) -> None:
    palette = legend_palette(LEGEND)
    write_cog_blocks(tmp_path / "a.tif", tiles(classes), GROUND, profile=BYTES, palette=palette)
    write_cog(
        tmp_path / "b.tif", classes, crs=GROUND.crs, transform=GROUND.transform, nodata=0,
        overviews="mode", palette=palette,
    )  # fmt: skip
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_map_is_published_with_place_colours_and_names(
    tmp_path: Path, classes: np.ndarray
) -> None:
    plan = Plan(kind="map", stage_version=1, arguments={})
    store = Store.create(tmp_path / "map.zarr", plan, map_layout((GRID,), LEGEND, {}), {})
    for window, values in tiles(classes):
        store.write("epsg32633/r10m/landcover", (), window, values.copy())
    publish_landcover(tmp_path / "out" / "map.tif", store, GRID, LEGEND)
    with rasterio.open(tmp_path / "out" / "map.tif") as dataset:
        assert np.array_equal(dataset.read(1), classes)
        assert dataset.crs == GRID.crs
        assert dataset.transform == GROUND.transform
        assert dataset.bounds == GRID.bounds
        assert dataset.nodata == 0
        assert dataset.colorinterp == (ColorInterp.palette,)
        colors, tags = dataset.colormap(1), dataset.tags(1)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.compression.value == "DEFLATE"
        assert dataset.block_shapes == [(256, 256)]
    assert {value: colors[value][:3] for value in LEGEND.values} == {
        1: (0, 255, 0),
        5: (0, 0, 255),
        9: (255, 1, 2),
    }
    assert {key: name for key, name in tags.items() if key.startswith("class_")} == {
        "class_1": "wood",
        "class_5": "deep water",
        "class_9": "town",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["map.tif"]


def overview(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1)[0] == 2
    with rasterio.open(path, overview_level=0) as dataset:
        values: np.ndarray = dataset.read(1)
    return values


def test_overviews_of_classes_hold_the_most_frequent_class(
    tmp_path: Path, classes: np.ndarray
) -> None:
    write_cog_blocks(tmp_path / "a.tif", tiles(classes), GROUND, profile=BYTES)
    small = overview(tmp_path / "a.tif")
    assert set(np.unique(small)) <= {0, 1, 5, 9}
    corners = classes.reshape(300, 2, 351, 2).swapaxes(1, 2).reshape(300, 351, 4)
    agreed = (corners == corners[..., :1]).all(axis=2)
    assert agreed.any()
    assert np.array_equal(small[agreed], corners[agreed][:, 0])
    counts = np.stack([(corners == value).sum(axis=2) for value in (1, 5, 9)])
    clear = counts.max(axis=0) >= 3
    winner = np.array([1, 5, 9])[counts.argmax(axis=0)]
    assert np.array_equal(small[clear], winner[clear])


def test_overviews_of_quantities_hold_their_average(tmp_path: Path) -> None:
    values = np.random.default_rng(4).random((512, 512), np.float32)
    write_cog(tmp_path / "a.tif", values, crs=GROUND.crs, transform=GROUND.transform, nodata=None)
    average = values.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(overview(tmp_path / "a.tif"), average, rtol=1e-5)


def test_several_bands_and_other_types_survive(tmp_path: Path) -> None:
    values = np.random.default_rng(4).integers(-3000, 0, (3, 40, 50)).astype(np.int16)
    transform = Affine(20, 0, 300, 0, -20, 700)
    write_cog(tmp_path / "a.tif", values, crs="EPSG:3035", transform=transform, nodata=-32768)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert np.array_equal(dataset.read(), values)
        assert (dataset.nodata, dataset.dtypes[0]) == (-32768, "int16")


def failing(array: np.ndarray) -> Iterator[tuple[Window, np.ndarray]]:
    for index, block in enumerate(tiles(array)):
        if index == 3:
            raise ZeroDivisionError
        yield block


def test_nothing_appears_and_nothing_is_lost_when_writing_fails(
    tmp_path: Path, classes: np.ndarray
) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(ZeroDivisionError):
        write_cog_blocks(path, failing(classes), GROUND, profile=BYTES)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"precious")
    with pytest.raises(ZeroDivisionError):
        write_cog_blocks(path, failing(classes), GROUND, profile=BYTES)
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [
        ("a.tif", b"precious")
    ]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for value in (1, 2):
        values = np.full((6, 6), value, np.uint8)
        block = Block("EPSG:32633", Affine(10, 0, 0, 0, -10, 0), 6, 6)
        profile = RasterProfile("uint8", None)
        write_cog_blocks(tmp_path / "a.tif", [(Window(0, 0, 6, 6), values)], block, profile=profile)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.read(1) == 2).all()
