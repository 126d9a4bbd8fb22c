from pathlib import Path
from typing import Any, Final

import numpy as np
import pystac
import pytest
import rasterio

from sscl_geo.demo.landscape import make_landscape
from sscl_geo.demo.scenes import write_catalog
from sscl_geo.demo.signatures import CLASSES

SIZE_PX: Final = 264
SEED: Final = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("demo"), seed=SEED, size_px=SIZE_PX)


@pytest.fixture(scope="module")
def items(root: Path) -> list[pystac.Item]:
    return list(pystac.Catalog.from_file(str(root)).get_items(recursive=True))


def of(items: list[pystac.Item], collection: str) -> list[pystac.Item]:
    return [item for item in items if item.collection_id == collection]


def read(item: pystac.Item, key: str) -> np.ndarray:
    with rasterio.open(item.assets[key].get_absolute_href()) as source:
        values: np.ndarray = source.read(1)
    return values


def band_of(item: pystac.Item, key: str) -> dict[str, Any]:
    band: dict[str, Any] = item.assets[key].extra_fields["raster:bands"][0]
    return band


def test_the_catalogue_holds_three_collections_of_scenes(items: list[pystac.Item]) -> None:
    assert len(of(items, "sentinel-2-l2a")) == 24
    assert len(of(items, "sentinel-1-rtc")) == 8
    assert len(of(items, "land-cover")) == 1
    assert len({item.id for item in items}) == 33


def test_the_catalogue_can_be_moved(root: Path, items: list[pystac.Item]) -> None:
    assert str(root.parent) not in root.read_text(encoding="utf-8")
    for item in items:
        assert str(root.parent) not in Path(item.self_href).read_text(encoding="utf-8")
        assert all(not Path(asset.href).is_absolute() for asset in item.assets.values())


def test_assets_are_cogs_where_the_item_says_they_are(items: list[pystac.Item]) -> None:
    for item in items:
        for asset in item.assets.values():
            with rasterio.open(asset.get_absolute_href()) as source:
                assert list(source.shape) == asset.extra_fields["proj:shape"]
                assert list(source.transform)[:6] == asset.extra_fields["proj:transform"]
                assert source.crs.to_string() == item.properties["proj:code"]
                assert source.nodata == asset.extra_fields["raster:bands"][0]["nodata"]
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert source.compression.name == "deflate"
                origin = source.transform.c, source.transform.f
                assert all(value % 60 == 0 for value in origin)


def test_files_larger_than_a_block_have_overviews(items: list[pystac.Item]) -> None:
    for key, item in (("vv", of(items, "sentinel-1-rtc")[0]), ("data", of(items, "land-cover")[0])):
        with rasterio.open(item.assets[key].get_absolute_href()) as source:
            assert source.block_shapes == [(256, 256)]
            assert source.overviews(1) == [2]


def test_granules_of_a_date_overlap_by_a_fifth_and_differ_in_tile(
    items: list[pystac.Item],
) -> None:
    west, east = sorted(of(items, "sentinel-2-l2a"), key=lambda item: item.id)[:2]
    widths = [item.assets["B02"].extra_fields["proj:shape"][1] for item in (west, east)]
    assert west.datetime == east.datetime
    assert sum(widths) - SIZE_PX == pytest.approx(0.2 * SIZE_PX, abs=6)
    assert west.properties["s2:mgrs_tile"] != east.properties["s2:mgrs_tile"]


def test_both_granules_together_leave_no_gap_and_each_has_an_edge(
    items: list[pystac.Item],
) -> None:
    west, east = sorted(of(items, "sentinel-2-l2a"), key=lambda item: item.id)[:2]
    left, right = read(west, "B02"), read(east, "B02")
    held = np.zeros((SIZE_PX, SIZE_PX), bool)
    held[:, : left.shape[1]] |= left > 0
    held[:, -right.shape[1] :] |= right > 0
    assert held.all()
    assert (left == 0).any()
    assert (right == 0).any()


def test_both_offset_conventions_tell_the_same_reflectance(items: list[pystac.Item]) -> None:
    bright = {"05.10": [], "03.01": []}  # type: dict[str, list[float]]
    for item in of(items, "sentinel-2-l2a"):
        offset = band_of(item, "B12")["offset"]
        baseline = item.properties["s2:processing_baseline"]
        assert offset == {"05.10": -0.1, "03.01": 0}[baseline]
        clear = np.isin(read(item, "SCL"), (4, 5))
        numbers = read(item, "B12")[clear]
        bright[baseline].append(float((numbers * 1e-4 + offset).mean()))
    assert len(bright["05.10"]) == len(bright["03.01"]) == 12
    assert np.mean(bright["05.10"]) == pytest.approx(np.mean(bright["03.01"]), abs=0.05)


def test_cloud_cover_spans_fair_and_foul_days(items: list[pystac.Item]) -> None:
    scenes = of(items, "sentinel-2-l2a")
    by_day: dict[object, list[float]] = {}
    for item in scenes:
        by_day.setdefault(item.datetime, []).append(item.properties["eo:cloud_cover"])
    means = [np.mean(covers) for covers in by_day.values()]
    assert min(means) < 15
    assert max(means) > 45


def test_the_scene_classification_finds_most_clouds_but_not_their_veils(
    items: list[pystac.Item],
) -> None:
    missed = total = 0
    for item in of(items, "sentinel-2-l2a"):
        scl, offset = read(item, "SCL"), band_of(item, "B02")["offset"]
        blue = read(item, "B02") * 1e-4 + offset
        blue20 = blue.reshape(scl.shape[0], 2, scl.shape[1], 2).mean((1, 3))
        cloud, clear = np.isin(scl, (8, 9, 10)), np.isin(scl, (4, 5, 6))
        assert blue20[cloud].mean() > 2 * blue20[clear].mean()
        missed += int((clear & (blue20 > 0.12)).sum())
        total += int(clear.sum())
    assert 0 < missed < 0.05 * total


def test_clouds_throw_shadows_that_the_scene_classification_finds(
    items: list[pystac.Item],
) -> None:
    for item in of(items, "sentinel-2-l2a"):
        scl, offset = read(item, "SCL"), band_of(item, "B8A")["offset"]
        near_infrared = read(item, "B8A") * 1e-4 + offset
        if item.properties["eo:cloud_cover"] > 30:
            assert (scl == 3).mean() > 0.02
            assert near_infrared[scl == 3].mean() < 0.75 * near_infrared[scl == 4].mean()


def test_the_scene_classification_knows_water(items: list[pystac.Item]) -> None:
    truth = read(of(items, "land-cover")[0], "data")[::2, ::2]
    for item in of(items, "sentinel-2-l2a"):
        if item.properties["s2:mgrs_tile"] == "33UVP":
            scl = read(item, "SCL")
            water = truth[:, : scl.shape[1]] == 10
            seen = scl[water & np.isin(scl, (4, 5, 6))]
            assert (seen == 6).mean() > 0.6


def test_radar_comes_from_two_orbits_and_covers_the_ground(items: list[pystac.Item]) -> None:
    orbits = set()
    for item in of(items, "sentinel-1-rtc"):
        orbits.add((item.properties["sat:orbit_state"], item.properties["sat:relative_orbit"]))
        assert item.properties["sar:product_type"] == "RTC"
        power = read(item, "vh")
        assert power.shape == (SIZE_PX, SIZE_PX)
        assert power.min() > 0
    assert {state for state, _ in orbits} == {"ascending", "descending"}
    assert len({orbit for _, orbit in orbits}) == 2


def test_the_land_cover_is_the_truth_with_names_and_colours(items: list[pystac.Item]) -> None:
    item = of(items, "land-cover")[0]
    assert np.array_equal(read(item, "data"), make_landscape(SEED, SIZE_PX).classes)
    named = item.assets["data"].extra_fields["classification:classes"]
    assert {one["value"]: one["name"] for one in named} == CLASSES
    with rasterio.open(item.assets["data"].get_absolute_href()) as source:
        assert source.colormap(1)[10][:3] == (28, 13, 255)
        assert source.tags(1)["class_10"] == "Water"


def test_the_same_seed_writes_the_same_pixels(items: list[pystac.Item], tmp_path: Path) -> None:
    again = write_catalog(tmp_path, seed=SEED, size_px=SIZE_PX)
    for item in pystac.Catalog.from_file(str(again)).get_items(recursive=True):
        twin = next(one for one in items if one.id == item.id)
        key = next(iter(item.assets))
        assert np.array_equal(read(item, key), read(twin, key))


def test_the_items_lie_where_the_pixels_are(items: list[pystac.Item]) -> None:
    for item in items:
        assert item.bbox is not None
        west, south, east, north = item.bbox
        assert 15 < west < east < 15.1
        assert 48.7 < south < north < 48.8
