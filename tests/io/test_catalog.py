import json
import re
import socket
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import shapely

from sscl_geo import plugins
from sscl_geo.errors import CatalogError, SsclGeoError, UntrustedHrefError
from sscl_geo.geo.area import area_of_polygons
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import parse_interval
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.catalog import Found, search, to_scene
from sscl_geo.io.profile import Source, source
from sscl_geo.stages.ingest.grouping import solar_day
from sscl_geo.stages.ingest.plan import derived
from sscl_geo.stages.ingest.request import IngestRequest

S2: Sensor = plugins.find("sscl_geo.sensors", "sentinel2_l2a").SENSOR
S1: Sensor = plugins.find("sscl_geo.sensors", "sentinel1_rtc").SENSOR
FLANDERS = BBox(3.0, 50.8, 3.05, 50.83)
CHILE = BBox(-74, -54, -66, -17)
WORLD = BBox(-180, -80, 180, 84)
HALF_YEAR = parse_interval("2025-01-01/2025-07-31")
ALWAYS = parse_interval("2017-01-01/2023-12-31")


Raw = dict[str, Any]


def landing(href: str, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "Catalog",
        "id": "api",
        "description": "",
        "stac_version": "1.0.0",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ],
        "links": [
            {"rel": "search", "href": href, "method": method, "type": "application/geo+json"}
        ],
    }


def recorded(realdata: Path, name: str) -> list[Raw]:
    content: dict[str, list[Raw]] = json.loads(
        (realdata / "stac_items" / f"{name}.json").read_text()
    )
    return content["features"]


def sorted_out(
    items: list[Raw], sensor: Sensor, catalogue: Source
) -> tuple[list[Scene], dict[str, str]]:
    """Return scenes, and the cause of each refusal by the item's id."""
    place = catalogue.profile.sensors[sensor.name]
    scenes, refusals = [], {}
    for item in items:
        try:
            scenes.append(to_scene(item, sensor, place, catalogue))
        except SsclGeoError as error:
            refusals[item["id"]] = str(error)
    return scenes, refusals


def test_recorded_items_of_the_planetary_computer_become_scenes(realdata: Path) -> None:
    items = recorded(realdata, "pc__sentinel-2-l2a")
    scenes, refusals = sorted_out(items, S2, source("planetary-computer"))
    assert len(scenes) == 100
    assert not refusals
    for item, scene in zip(items, scenes, strict=True):
        told = item["properties"]
        assert scene.harmonise == (0 if float(told["s2:processing_baseline"]) >= 4 else 1000)
        assert scene.witness.startswith("processing_baseline")
        assert scene.confidence == "low"
        assert scene.id == item["id"]
        assert scene.datetime.isoformat()[:19] == told["datetime"][:19]
        assert scene.tile == told["s2:mgrs_tile"]
        assert scene.baseline == told["s2:processing_baseline"]
        assert scene.datatake == told["s2:datatake_id"][5:20]
        assert scene.platform == told["platform"].lower()
        assert scene.cloud_cover == told["eo:cloud_cover"]
        assert scene.orbit in ("ascending", "descending")
        assert [band for band, _ in scene.hrefs] == [band.name for band in S2.bands]
        assert all("blob.core.windows.net" in href for _, href in scene.hrefs)
        assert scene.mask_href is not None
        assert scene.mask_href.endswith("_SCL_20m.tif")


def test_recorded_radar_items_of_the_planetary_computer_become_scenes(realdata: Path) -> None:
    items = recorded(realdata, "pc__sentinel-1-rtc")
    scenes, refusals = sorted_out(items, S1, source("planetary-computer"))
    assert refusals == {}
    assert len(scenes) == 3
    assert all(scene.href("VV").endswith("iw-vv.rtc.tiff") for scene in scenes)


def test_recorded_items_of_earth_search_become_scenes(realdata: Path) -> None:
    items = recorded(realdata, "earthsearch__sentinel-2-c1-l2a")
    scenes, refusals = sorted_out(items, S2, source("earth-search"))
    assert len(scenes) == 41
    assert not refusals
    assert {scene.harmonise for scene in scenes} == {0}
    assert {scene.witness for scene in scenes} == {"raster_bands, processing_baseline, product_id"}
    assert all(len(scene.checksums) == len(S2.bands) for scene in scenes)


@pytest.mark.parametrize("name", ["pc__sentinel-1-grd", "earthsearch__sentinel-1-grd"])
def test_ground_range_items_are_no_gamma_nought(realdata: Path, name: str) -> None:
    items = recorded(realdata, name)
    for catalogue in (source("planetary-computer"), source("http://127.0.0.1:1")):
        scenes, refusals = sorted_out(items, S1, catalogue)
        assert scenes == []
        assert len(refusals) == len({item["id"] for item in items})
        assert all(refusals.values())


def test_an_item_of_another_catalogue_is_refused_with_a_cause(realdata: Path) -> None:
    for name in ("pc__sentinel-2-l2a", "earthsearch__sentinel-2-c1-l2a"):
        items = recorded(realdata, name)
        scenes, refusals = sorted_out(items, S2, source("http://127.0.0.1:1"))
        assert not scenes
        assert len(refusals) == len(items)
        assert all("asset" in cause and "\n" not in cause for cause in refusals.values())


def example(**properties: object) -> Raw:
    moment = {"datetime": "2020-05-01T00:00:00Z", "s2:processing_baseline": "05.00"}
    assets = {band.name: {"href": f"http://127.0.0.1/{band.name}.tif"} for band in S2.bands}
    return {
        "id": "toy",
        "bbox": [3.0, 50.0, 3.1, 50.1],
        "properties": moment | properties,
        "assets": assets,
    }


def taken(item: Raw) -> Scene:
    catalogue = source("http://127.0.0.1:1")
    return to_scene(item, S2, catalogue.profile.sensors[S2.name], catalogue)


def test_an_item_needs_time_place_bands_and_a_trusted_host() -> None:
    assert taken(example()).id == "toy"
    bare, nowhere, poor, evil = example(datetime=None), example(), example(), example()
    del nowhere["bbox"], poor["assets"]["B11"]
    evil["assets"]["B11"]["href"] = "http://169.254.169.254/B11.tif"
    for item, told in ((bare, "no datetime"), (nowhere, "no bbox"), (poor, "no asset 'B11'")):
        with pytest.raises(CatalogError, match=told):
            taken(item)
    with pytest.raises(UntrustedHrefError, match=r"'169\.254\.169\.254'"):
        taken(evil)


def test_a_box_with_heights_is_a_box() -> None:
    item = example() | {"bbox": [3.0, 50.0, -10.0, 3.1, 50.1, 90.0]}
    assert taken(item).bbox == BBox(3.0, 50.0, 3.1, 50.1)


@pytest.mark.parametrize("told", ["2020-05-02T01:30:00+03:00", "2020-05-01T22:30:00"])
def test_the_time_of_an_item_is_told_in_utc(told: str) -> None:
    scene = taken(example(datetime=told))
    assert scene.datetime.isoformat() == "2020-05-01T22:30:00+00:00"
    assert scene.datatake == "20200501T223000"
    assert solar_day(scene, 3.0) == date(2020, 5, 1)


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00", "now"])
def test_a_time_that_is_none_is_an_error_of_the_catalogue(told: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(f"no datetime that can be read: '{told}'")):
        taken(example(datetime=told))


@pytest.mark.parametrize("bbox", [[], [3.0, 50.0, 3.1]])
def test_a_box_that_is_none_is_an_error_of_the_catalogue(bbox: list[Any]) -> None:
    with pytest.raises(CatalogError):
        taken(example() | {"bbox": bbox})


def test_an_orbit_that_is_no_number_is_an_error_of_the_catalogue() -> None:
    with pytest.raises(CatalogError):
        taken(example(**{"sat:relative_orbit": "R022"}))


def test_a_catalogue_that_does_not_answer_is_told_in_one_line() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(CatalogError, match=f"{address} cannot be searched: .*--catalog") as error:
        search(source(address), S2, FLANDERS, ALWAYS)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_catalogue_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    for content in ("{}", "no json", "[]"):
        path.write_text(content)
        with pytest.raises(CatalogError, match="cannot be read as a STAC catalogue") as error:
            search(source(str(path)), S2, FLANDERS, ALWAYS)
        assert "\n" not in str(error.value)


def without_60_m(catalogue: Source) -> Source:
    """Return a catalogue whose profile does not ask for the bands that Flanders lacks."""
    place = catalogue.profile.sensors[S2.name]
    assets = {band: key for band, key in place.assets.items() if band not in ("B01", "B09")}
    sensors = {**catalogue.profile.sensors, S2.name: place.replace(assets=assets)}
    return catalogue.replace(profile=catalogue.profile.replace(sensors=sensors))


@pytest.fixture(scope="module")
def static(realdata: Path) -> Source:
    return without_60_m(source(str(realdata / "stac" / "catalog.json")))


@pytest.mark.parametrize(
    ("box", "sensor", "scenes"),
    [(FLANDERS, S2, 61), (FLANDERS, S1, 0), (WORLD, S2, 99), (WORLD, S1, 38), (CHILE, S2, 1)],
)
def test_the_real_samples_are_found(static: Source, box: BBox, sensor: Sensor, scenes: int) -> None:
    found = search(static, sensor, box, ALWAYS)
    assert len(found.scenes) == scenes
    order = [(scene.datetime, scene.id) for scene in found.scenes]
    assert order == sorted(order)
    assert all(scene.overlaps(box) and scene.datetime in ALWAYS for scene in found.scenes)
    if sensor is S1 and box is not CHILE:
        assert len(found.refusals) == 69
        assert all("GRD" in refusal.cause for refusal in found.refusals)
        assert sum(found.causes.values()) == 69


@pytest.mark.parametrize("order", [1, -1])
def test_a_later_collection_fills_the_gaps_of_the_preferred_one(
    realdata: Path, serve: Any, order: int
) -> None:
    """Recorded items of Earth Search, served in either order with two gaps in Collection 1."""
    first, older = (
        [item for item in recorded(realdata, name) if item["properties"]["datetime"] > "2025"]
        for name in ("earthsearch__sentinel-2-c1-l2a", "earthsearch__sentinel-2-l2a")
    )
    twin = {datatake(item) for item in older}
    gaps = [item for item in first if datatake(item) in twin][:2]
    left = [item for item in [*first, *older] if item not in gaps]

    def answer(asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", "POST")
        assert sorted(asked.body["collections"]) == ["sentinel-2-c1-l2a", "sentinel-2-l2a"]
        return {"features": left[::order]}

    catalogue = source(serve(answer).url, "earth-search")
    found = search(catalogue, S2, BBox(-180, -90, 180, 90), HALF_YEAR)
    assert not found.refusals
    assert len(found.scenes) == len({datatake(item) for item in [*first, *older]})
    by_take = {(scene.datatake, scene.tile): scene.collection for scene in found.scenes}
    filled = {datatake(item) for item in gaps}
    assert len(filled) == 2
    for item in first:
        expected = "sentinel-2-l2a" if datatake(item) in filled else "sentinel-2-c1-l2a"
        assert by_take[datatake(item)] == expected
    place = catalogue.profile.sensors[S2.name]
    turned = {S2.name: place.replace(collections=place.collections[::-1])}
    other = catalogue.replace(profile=catalogue.profile.replace(sensors=turned))
    for scene in search(other, S2, BBox(-180, -90, 180, 90), HALF_YEAR).scenes:
        is_old = (scene.datatake, scene.tile) in twin
        assert scene.collection == ("sentinel-2-l2a" if is_old else "sentinel-2-c1-l2a")
    assert [scene.id for scene in found.scenes] == [
        scene.id for scene in sorted(found.scenes, key=lambda scene: (scene.datetime, scene.id))
    ]


def test_scenes_over_no_tile_of_a_region_are_left_out(serve: Any, realdata: Path) -> None:
    items = recorded(realdata, "earthsearch__sentinel-2-c1-l2a")
    items = [item for item in items if item["properties"]["datetime"] > "2025"]

    def answer(asked: Any) -> Any:
        return landing("/search", "POST") if asked.path == "/" else {"features": items}

    catalogue = source(serve(answer).url, "earth-search")
    middles = sorted(shapely.box(*item["bbox"]).centroid.coords[0] for item in items)
    ends = [shapely.Point(middle).buffer(0.01) for middle in (middles[0], middles[-1])]
    area = area_of_polygons(shapely.union_all(ends), "two places")
    request = IngestRequest(
        source=catalogue,
        area=area,
        datetime="2025-01-01/2025-07-31",
        sensors=(S2.name,),
        tile_px=256,
        ask_pixels=False,
    )
    _, scenes = derived(request)
    found = search(catalogue, S2, area.bbox, HALF_YEAR).scenes
    near = [
        one for one in found if any(shapely.box(*one.bbox).distance(end) < 0.05 for end in ends)
    ]
    assert 0 < len(near) < len(found)
    assert {one.id for one in scenes} == {one.id for one in near}


def datatake(item: Raw) -> tuple[str, str]:
    told = item["properties"]
    return told["s2:datatake_id"][5:20], told["grid:code"].removeprefix("MGRS-")


def test_an_item_without_a_band_of_the_profile_is_left_out_and_named(realdata: Path) -> None:
    found = search(source(str(realdata / "stac" / "catalog.json")), S2, FLANDERS, ALWAYS)
    assert not found.scenes
    assert {refusal.cause for refusal in found.refusals} == {"the item has no asset 'B01'"}
    assert len({refusal.item for refusal in found.refusals}) == 61


def test_a_search_keeps_to_the_interval(static: Source) -> None:
    interval = parse_interval("2018-05-01/2018-05-31")
    found = search(static, S2, FLANDERS, interval)
    assert found.scenes
    assert {(scene.datetime.year, scene.datetime.month) for scene in found.scenes} == {(2018, 5)}


def test_a_sensor_that_a_catalogue_lacks_is_not_found(static: Source) -> None:
    grd: Sensor = plugins.find("sscl_geo.sensors", "sentinel1_grd").SENSOR
    assert search(static, grd, WORLD, ALWAYS) == Found((), ())


@pytest.mark.parametrize("box", [FLANDERS, CHILE], ids=["flanders", "chile"])
@pytest.mark.parametrize("sensor", [S2, S1], ids=lambda sensor: sensor.name)
def test_an_api_and_the_static_catalogue_that_it_serves_tell_the_same(
    static: Source, real_api: str, box: BBox, sensor: Sensor
) -> None:
    by_disk = search(static, sensor, box, ALWAYS)
    by_web = search(without_60_m(source(real_api)), sensor, box, ALWAYS)
    assert [placeless(scene) for scene in by_web.scenes] == [
        placeless(scene) for scene in by_disk.scenes
    ]
    assert sorted(by_web.refusals) == sorted(by_disk.refusals)
    assert all(href.startswith("http://127.0.0.1:") for s in by_web.scenes for _, href in s.hrefs)


def test_pixels_find_the_scene_whose_metadata_lie(static: Source) -> None:
    """The Chilean sample's pixels carry +1000, while its item claims baseline 02.00."""
    found = search(static, S2, (CHILE, FLANDERS), ALWAYS, ask_pixels=True)
    assert [refusal.item[:7] for refusal in found.refusals if "pixels" in refusal.cause] == [
        "S2_433D"
    ]
    assert found.refusals[-1].cause == (
        "offset of the DN in doubt: raster_bands, processing_baseline says none but pixels say "
        "+1000"
    )
    assert len(found.scenes) == 61
    assert {scene.harmonise for scene in found.scenes} == {1000}
    sure = [scene for scene in found.scenes if scene.confidence == "high"]
    assert 30 <= len(sure) < 61
    assert search(static, S2, (FLANDERS, CHILE), ALWAYS, ask_pixels=True) == found


def placeless(scene: Scene) -> Scene:
    """Return a scene whose addresses tell folder and file alone."""

    def tail(href: str) -> str:
        return "/".join(href.split("/")[-2:])

    mask = tail(scene.mask_href) if scene.mask_href else None
    return scene.replace(
        hrefs=tuple((band, tail(href)) for band, href in scene.hrefs), mask_href=mask
    )
