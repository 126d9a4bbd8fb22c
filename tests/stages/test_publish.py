"""A published map opens wherever analysts work, and holds what the map holds."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
import torch
from pyproj import Transformer
from stac_model.schema import MLModelProperties

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.bundle import read_card
from sscl_geo.io.location import location
from sscl_geo.io.publish import stac
from sscl_geo.learn.inputs import Normalise
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.map import make_map
from sscl_geo.stages.publish import PublishRequest, publish
from tests.drawn_maps import LEGEND, draw_map

# On both sides of the border between two zones.
GRIDS = grids_of(Area(bbox=BBox(5.97, 50.0, 6.04, 50.03)), "auto", 256)


def stripes(_: Grid, window: Window) -> np.ndarray:
    """Return classes that depend on the place on the ground, and a corner without any."""
    y, x = np.mgrid[window.y : window.y + window.height, window.x : window.x + window.width]
    classes = np.array(LEGEND.values)[(y // 17 + x // 23) % len(LEGEND.classes)]
    return np.where((y < 40) & (x < 30), 0, classes)


def levels(_: Grid, window: Window) -> np.ndarray:
    y, x = np.mgrid[window.y : window.y + window.height, window.x : window.x + window.width]
    return np.asarray(100 + (y + x) % 100)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_map(tmp_path_factory.mktemp("maps") / "map.zarr", GRIDS, stripes, levels)


@pytest.fixture(scope="module")
def product(mapped: Path) -> Path:
    out = mapped.parent / "product"
    request = PublishRequest(map=location(mapped), file_px=256, id="test", license="CC-BY-4.0")
    assert publish(request, out, Machines()).done > len(GRIDS)
    return out


def whole(grid: Grid) -> Window:
    return Window(0, 0, *grid.shape)


def is_own(grid: Grid, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which places of EPSG:3035 a grid owns."""
    longitude, latitude = Transformer.from_crs(3035, 4326, always_xy=True).transform(x, y)
    west, south, east, north = grid.owns or (-180, -90, 180, 90)
    across = (longitude >= west) & (longitude < east)
    owned: np.ndarray = across & (latitude >= south) & (latitude < north)
    return owned


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.zone)
def test_the_mosaic_of_a_zone_is_the_map(product: Path, grid: Grid) -> None:
    with rasterio.open(product / f"{grid.zone}-landcover.vrt") as file:
        assert np.array_equal(file.read(1), stripes(grid, whole(grid)))
        assert file.crs == rasterio.CRS.from_user_input(grid.crs)
        assert file.bounds == tuple(grid.bounds)
        assert file.nodata == 0
        assert file.colormap(1)[80] == (0x2B, 0x6C, 0xB0, 255)
    with rasterio.open(product / f"{grid.zone}-confidence.vrt") as file:
        classes = stripes(grid, whole(grid))
        expected = np.where(classes == 0, 255, levels(grid, whole(grid)))
        assert np.array_equal(file.read(1), expected)


def test_gdal_knows_the_names_and_colours_of_classes(product: Path) -> None:
    tool = shutil.which("gdalinfo")
    if tool is None:
        pytest.skip("GDAL's command line tools are not installed")
    zone = GRIDS[0].zone
    for path in (
        next(product.glob(f"cogs/{zone}-*-landcover.tif")),
        product / f"{zone}-landcover.vrt",
    ):
        done = subprocess.run([tool, path], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert "80: Water" in lines
        assert "80: 43,108,176,255" in lines


def test_the_style_names_every_class(product: Path) -> None:
    for grid in GRIDS:
        style = (product / f"{grid.zone}-landcover.qml").read_text()
        for item in LEGEND.classes:
            assert (
                f'value="{item.value}" color="{item.color}" alpha="255" label="{item.name}"'
                in style
            )
    assert (product / "legend.csv").read_text().splitlines()[1] == '10,"Tree cover",#1f6b2c'


def test_the_catalogue_is_valid_and_leads_to_every_file(product: Path, mapped: Path) -> None:
    collection = pystac.Collection.from_file(str(product / "collection.json"))
    items = list(collection.get_items())
    cogs = sorted(product.glob("cogs/*.tif"))
    named = []
    for entry in (collection, *items):
        # The schemas of extensions are on the web.
        core = pystac.read_dict({**entry.to_dict(), "stac_extensions": []})
        core.validate()
    for item in items:
        assert item.get_parent() is not None
        for asset in item.assets.values():
            path = Path(str(asset.get_absolute_href()))
            content = path.read_bytes()
            assert asset.extra_fields["file:size"] == len(content)
            digest = hashlib.sha256(content).hexdigest()
            assert asset.extra_fields["file:checksum"] == f"1220{digest}"
            named.append(path)
            with rasterio.open(path) as file:
                assert item.properties["proj:code"] == f"EPSG:{file.crs.to_epsg()}"
                assert item.properties["proj:shape"] == list(file.shape)
                assert item.properties["proj:transform"] == list(file.transform)[:6]
        classes = item.assets["landcover"].extra_fields["classification:classes"]
        assert [one["value"] for one in classes] == list(LEGEND.values)
        assert item.common_metadata.start_datetime is not None
    assert sorted(named) == cogs
    zarr = Path(str(collection.assets["zarr"].get_absolute_href()))
    assert zarr.resolve() == mapped
    table = geopandas.read_parquet(product / "items.parquet")
    assert sorted(table["id"]) == sorted(item.id for item in items)
    assert table.crs == "OGC:CRS84"
    # Every address leads on from the product's root, wherever that stands.
    text = (product / "items.parquet").read_bytes()
    assert str(product).encode() not in text
    hrefs = [row["landcover"]["href"] for row in table["assets"]]
    assert all((product / href).exists() for href in hrefs)


def test_a_name_of_a_class_is_one_word_of_ascii() -> None:
    names = ["Forêt de montagne", "森林", "Sand/rock (dry)"]
    legend = LEGEND.replace(
        classes=tuple(
            item.replace(name=name) for item, name in zip(LEGEND.classes, names, strict=True)
        )
    )
    told = [one["name"] for one in stac._classes(legend)]
    assert told == ["foret_de_montagne", "class_40", "sand_rock_dry"]


@pytest.mark.parametrize(
    ("crs", "told"),
    [("auto", "--crs auto: name one CRS in metres"), ("EPSG:4326", "--crs 'EPSG:4326': must be")],
)
def test_a_crs_that_does_not_fit_is_named(
    mapped: Path, crs: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        publish(PublishRequest(map=location(mapped), crs=crs), tmp_path / "p", Machines())


def test_zones_become_one_product_in_one_crs(mapped: Path, tmp_path: Path) -> None:
    request = PublishRequest(map=location(mapped), crs="EPSG:3035", file_px=512)
    publish(request, tmp_path / "one", Machines())
    with rasterio.open(tmp_path / "one" / "epsg3035-landcover.vrt") as file:
        found, transform = file.read(1), file.transform
    with rasterio.open(tmp_path / "one" / "epsg3035-confidence.vrt") as file:
        sure = file.read(1)
    rows, columns = (axis.ravel() for axis in np.indices(found.shape))
    x, y = transform @ (columns + 0.5, rows + 0.5)
    expected = np.zeros(len(rows), np.uint8)
    for grid in GRIDS:
        mine_x, mine_y = Transformer.from_crs(3035, grid.crs, always_xy=True).transform(x, y)
        column = np.floor((mine_x - grid.origin[0]) / 10).astype(int)
        row = np.floor((grid.origin[1] - mine_y) / 10).astype(int)
        inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
        inside &= is_own(grid, x, y)
        # The last pixels of a zone have their centres in the next.
        expected[inside] = stripes(grid, whole(grid))[row[inside], column[inside]]
    assert np.array_equal(found.ravel(), expected)
    assert (expected != 0).sum() > 500
    assert np.array_equal(found == 0, sure == 255)


def test_files_of_another_size_hold_the_same_pixels(mapped: Path, tmp_path: Path) -> None:
    mosaics = []
    for size in (256, 1024):
        out = tmp_path / str(size)
        request = PublishRequest(map=location(mapped), crs="EPSG:3035", file_px=size)
        publish(request, out, Machines())
        with rasterio.open(out / "epsg3035-landcover.vrt") as file:
            mosaics.append(file.read(1))
    assert np.array_equal(*mosaics)


def test_the_same_command_goes_on_and_another_is_refused(mapped: Path, product: Path) -> None:
    request = PublishRequest(map=location(mapped), file_px=256, id="test", license="CC-BY-4.0")
    assert publish(request, product, Machines()).now == 0
    with pytest.raises(PlanConflictError, match="title is"):
        publish(request.replace(title="Other"), product, Machines())


def test_files_that_have_gone_or_changed_are_made_again(mapped: Path, tmp_path: Path) -> None:
    out = tmp_path / "product"
    request = PublishRequest(map=location(mapped), file_px=256, id="test")
    publish(request, out, Machines())
    first, second, *_ = sorted((out / "cogs").glob("*-landcover.tif"))
    before = {path: path.read_bytes() for path in (first, second)}
    first.unlink()
    second.write_bytes(b"")
    (out / "cogs" / ".killed.partial.tif").write_bytes(b"half")
    (out / "cogs" / ".killed.partial.plain.tif").write_bytes(b"half")
    assert publish(request, out, Machines()).now == 2
    assert {path: path.read_bytes() for path in before} == before
    assert not list((out / "cogs").glob(".*"))


def test_a_map_without_any_class_is_not_published(tmp_path: Path) -> None:
    empty = draw_map(tmp_path / "empty.zarr", GRIDS, lambda _, window: np.zeros(window[2:]))
    with pytest.raises(InvalidInputError, match="holds no class at all"):
        publish(PublishRequest(map=location(empty)), tmp_path / "product", Machines())
    assert not (tmp_path / "product" / "collection.json").exists()


def test_items_name_the_scenes_that_they_are_made_of(learned: Any, tmp_path: Path) -> None:
    make_map(learned.cube, learned.model, tmp_path / "map.zarr", Machines())
    request = PublishRequest(map=location(tmp_path / "map.zarr"), model=learned.model)
    with pytest.raises(InvalidInputError, match="is not the model that made"):
        publish(request.replace(model=learned.encoder), tmp_path / "p", Machines())
    publish(request, tmp_path / "p", Machines())
    (path,) = (tmp_path / "p" / "items").glob("*.json")
    links = [
        one["href"] for one in json.loads(path.read_text())["links"] if one["rel"] == "derived_from"
    ]
    scenes = [href for href in links if href.startswith("http")]
    assert len(scenes) > 10
    assert all("/collections/" in href and "/items/" in href for href in scenes)
    (model,) = [href for href in links if href not in scenes]
    item = pystac.Item.from_file(str(path.parent / model))
    assert item.properties["mlm:architecture"] == "deeplabv3"
    (output,) = item.properties["mlm:output"]
    for one in output["classification:classes"]:
        one.pop("title")  # a field of the classification extension that stac_model does not know
    (taken,) = MLModelProperties.model_validate(item.properties).input
    assert taken.input.shape[0] == -1
    card = NetworkSpec.model_validate(read_card(learned.model).network)
    stored = np.linspace(-3000, 14000, 500, dtype=np.float32)
    for band, entry in zip(card.bands, taken.value_scaling, strict=True):
        names = {"A": stored, "clip": np.clip, "log": np.log}
        told = eval(entry.expression, {"__builtins__": {}}, names)  # noqa: S307 - as gdal_calc does
        alone = NetworkSpec(bands=(band,), gsd=band.gsd)
        given = {band.array: torch.from_numpy(stored).reshape(1, 1, 20, 25)}
        found = Normalise(alone)(given)
        seen = found.is_valid.flatten()
        assert np.allclose(told[seen], found.values.flatten()[seen], atol=1e-4)
    assert {band.log_offset is None for band in card.bands} == {True, False}
    assert read_card(tmp_path / "p" / "model") == read_card(learned.model)
    pystac.read_dict({**item.to_dict(), "stac_extensions": []}).validate()
    for told in (path, path.parent / model, tmp_path / "p" / "collection.json"):
        uses_what_it_names(told)
    # The last second of its last day, as STAC counts ends in.
    assert json.loads(path.read_text())["properties"]["end_datetime"] == "2024-09-30T23:59:59Z"


def uses_what_it_names(path: Path) -> None:
    """Check that fields of every extension that a document names stand in it."""
    told = json.loads(path.read_text())
    prefixes = {"projection": "proj:"}
    fields = json.dumps({name: value for name, value in told.items() if name != "stac_extensions"})
    assert told["stac_extensions"]
    for address in told["stac_extensions"]:
        name = address.split("/")[3]
        assert f'"{prefixes.get(name, name + ":")}' in fields, f"{path.name}: {name}"
