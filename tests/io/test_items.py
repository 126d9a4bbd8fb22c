"""STAC items as public catalogues gave them, and as nobody should."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sscl_geo import plugins
from sscl_geo.errors import CatalogError, InvalidInputError, SsclGeoError
from sscl_geo.geo.scene import newest
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.items import parse_item
from sscl_geo.io.profile import Source, source
from sscl_geo.io.scenes import to_scene
from sscl_geo.io.verdicts import check_file

S2: Sensor = plugins.find("sscl_geo.sensors", "sentinel2_l2a").SENSOR
Raw = dict[str, Any]

VERDICTS = [
    ("pc__sentinel-2-l2a", "planetary-computer", 100, {}),
    ("pc__sentinel-1-rtc", "planetary-computer", 3, {}),
    ("pc__sentinel-1-rtc-2019", "planetary-computer", 2, {"HH": 2}),
    ("pc__sentinel-1-grd", "planetary-computer", 0, {"HH": 1}),
    ("pc__cop-dem-glo-30", "planetary-computer", 1, {}),
    ("odcstac__site1-20200606-tall-strip-africa", "planetary-computer", 5, {}),
    ("odcstac__site2-2020_jun_jul-35MNM", "planetary-computer", 7, {}),
    ("misc__sentinel-1-grd", "planetary-computer", 0, {"HH": 1}),
    ("earthsearch__sentinel-2-c1-l2a", "earth-search", 41, {}),
    ("earthsearch__sentinel-2-l2a", "earth-search", 86, {}),
    ("earthsearch__cop-dem-glo-30", "earth-search", 5, {}),
    ("earthsearch__sentinel-1-grd", "earth-search", 0, {"HH": 46, "not gamma nought": 25}),
    ("earthsearch__sentinel-2-l1c", "earth-search", 0, {"Level-1C": 39}),
    (
        "earthsearch__sentinel-2-pre-c1-l2a",
        "earth-search",
        0,
        {"'sentinel-2-pre-c1-l2a' is not": 5},
    ),
    ("earthsearch__sentinel-s2-l2a-cogs", "earth-search", 0, {"'sentinel-s2-l2a-cogs' is not": 4}),
    ("misc__sentinel-s2-l2a-cogs", "earth-search", 0, {"'sentinel-s2-l2a-cogs' is not": 1}),
    ("cdse__sentinel-2-l2a", "cdse", 0, {"is image/jp2": 17}),
    ("cdse-old__SENTINEL-2", "cdse", 0, {"'SENTINEL-2' is not": 24, "Level-1C": 4}),
    ("stac.sage.uvt.ro__sentinel-2-l1c", "generic", 0, {"Level-1C": 5}),
    ("stactools__sentinel1-grd", "generic", 0, {"HH": 2}),
    ("stactools__sentinel1-rtc-aws", "generic", 0, {"'sentinel1-rtc-aws' is not": 1}),
    ("stactools__sentinel1-slc", "generic", 0, {"'SLC' is complex": 1}),
]


def test_every_recorded_file_has_a_verdict_here(realdata: Path) -> None:
    assert {path.stem for path in (realdata / "stac_items").glob("*.json")} == {
        name for name, *_ in VERDICTS
    }


@pytest.mark.parametrize(("name", "profile", "accepted", "causes"), VERDICTS)
def test_recorded_items_are_accepted_or_refused_by_cause(
    realdata: Path, name: str, profile: str, accepted: int, causes: dict[str, int]
) -> None:
    verdicts = [*check_file(realdata / "stac_items" / f"{name}.json", profile)]
    told = [str(verdict["cause"]) for verdict in verdicts if verdict["verdict"] == "refused"]
    assert len(verdicts) - len(told) == accepted
    for mark, count in causes.items():
        assert sum(mark in cause for cause in told) == count
    assert len(told) == sum(causes.values())


@pytest.mark.parametrize("profile", ["planetary-computer", "earth-search", "cdse", "generic"])
def test_no_recorded_item_breaks_any_profile(realdata: Path, profile: str) -> None:
    for path in sorted((realdata / "stac_items").glob("*.json")):
        items = json.loads(path.read_text())["features"]
        verdicts = [*check_file(path, profile)]
        assert [verdict["id"] for verdict in verdicts] == [item["id"] for item in items]
        assert {verdict["verdict"] for verdict in verdicts} <= {"accepted", "refused"}
        assert all("\n" not in (verdict.get("cause") or "") for verdict in verdicts)


def recorded(realdata: Path, name: str) -> list[Raw]:
    items: list[Raw] = json.loads((realdata / "stac_items" / f"{name}.json").read_text())[
        "features"
    ]
    return items


def place_of(name: str) -> tuple[Any, Source]:
    catalogue = source(name)
    return catalogue.profile.sensors[S2.name], catalogue


def test_a_catalogue_like_cdse_that_serves_geotiff_is_read_over_https(realdata: Path) -> None:
    """The alternate https addresses of recorded CDSE items are the ones taken."""
    place, catalogue = place_of("cdse")
    place = place.replace(media_types=("image/jp2",))
    for item in recorded(realdata, "cdse__sentinel-2-l2a"):
        scene = to_scene(item, S2, place, catalogue)
        assert all(href.startswith("https://zipper.") for _, href in scene.hrefs)
        assert scene.harmonise == 0
        assert scene.witness == "raster_bands, processing_baseline, product_id"
        assert f"MGRS-{scene.tile}" == item["properties"]["grid:code"]
        assert scene.datatake == item["id"].split("_")[2]
        asset = copy.deepcopy(item)
        del asset["assets"]["B02_10m"]["alternate"]
        with pytest.raises(CatalogError, match="is in a bucket, not on the web"):
            to_scene(asset, S2, place, catalogue)


def as_1_1(item: Raw) -> Raw:
    """Rewrite an item of STAC 1.0 in the terms of 1.1."""
    new = copy.deepcopy(item) | {"stac_version": "1.1.0"}
    code = new["properties"].pop("proj:epsg")
    new["properties"]["proj:code"] = f"EPSG:{code}"
    for asset in new["assets"].values():
        optical, raster = asset.pop("eo:bands", [{}]), asset.pop("raster:bands", [{}])
        renamed = {
            f"raster:{key}": raster[0][key] for key in ("offset", "scale") if key in raster[0]
        }
        asset["bands"] = [{"name": optical[0].get("name", ""), **renamed}]
    return new


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("pc__sentinel-2-l2a", "planetary-computer"),
        ("earthsearch__sentinel-2-c1-l2a", "earth-search"),
    ],
)
def test_an_item_means_the_same_in_either_version_of_stac(
    realdata: Path, name: str, profile: str
) -> None:
    place, catalogue = place_of(profile)
    for item in recorded(realdata, name):
        scene = to_scene(item, S2, place, catalogue)
        assert to_scene(as_1_1(item), S2, place, catalogue) == scene


OWN = """
name: own
hosts: ["*.amazonaws.com"]
sensors:
  sentinel2_l2a:
    collections: [sentinel-s2-l2a-cogs]
    assets: {B02: B02, B03: B03, B04: B04, B08: B08, B12: B12}
    mask: SCL
    offset_witnesses: [boa_offset_applied]
  sentinel1_rtc:
    collections: [sentinel1-rtc-aws]
    assets: {VV: gamma0_vv, VH: gamma0_vh}
"""


@pytest.mark.parametrize(
    ("name", "accepted", "causes"),
    [
        ("earthsearch__sentinel-s2-l2a-cogs", 4, []),
        ("misc__sentinel-s2-l2a-cogs", 0, ["offset of the DN unknown"]),
        ("stactools__sentinel1-rtc-aws", 1, []),
        ("stactools__sentinel1-slc", 0, ["SLC"]),
    ],
)
def test_a_profile_of_one_s_own_opens_another_catalogue(
    realdata: Path, tmp_path: Path, name: str, accepted: int, causes: list[str]
) -> None:
    """Items of STAC 1.0.0-beta.1, 1.0.0-beta.2 and 1.1, with fields of before the extensions."""
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    verdicts = [*check_file(realdata / "stac_items" / f"{name}.json", str(path))]
    assert sum(verdict["verdict"] == "accepted" for verdict in verdicts) == accepted
    told = [str(verdict["cause"]) for verdict in verdicts if verdict["verdict"] == "refused"]
    assert all(mark in cause for mark, cause in zip(causes, told, strict=True))


def test_the_fields_of_an_old_item_say_the_same(realdata: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    catalogue = source("https://127.0.0.1", str(path))
    old = recorded(realdata, "earthsearch__sentinel-s2-l2a-cogs")
    new = {item["id"]: item for item in recorded(realdata, "earthsearch__sentinel-2-l2a")}
    place, modern = place_of("earth-search")
    both = [item for item in old if item["id"] in new]
    assert both
    for item in both:
        scene = to_scene(item, S2, catalogue.profile.sensors[S2.name], catalogue)
        same = to_scene(new[scene.id], S2, place, modern)
        assert scene.harmonise == same.harmonise == 1000
        for field in ("tile", "baseline", "datatake", "platform"):
            assert getattr(scene, field) == getattr(same, field)
        assert scene.href("B04") == same.href("B04")


def test_an_item_without_a_collection_is_known_by_its_assets(
    realdata: Path, tmp_path: Path
) -> None:
    item = recorded(realdata, "pc__sentinel-2-l2a")[0]
    del item["collection"]
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    assert [*check_file(path, "planetary-computer")] == [{"id": item["id"], "verdict": "accepted"}]
    other = recorded(realdata, "earthsearch__sentinel-2-l2a")[0]
    del other["collection"]
    path.write_text(json.dumps([other, 3, {"id": 4}]))
    causes = [str(verdict["cause"]) for verdict in check_file(path, "earth-search")]
    assert "names no collection" in causes[0]
    assert "JSON object, not a int" in causes[1]
    assert "id" in causes[2]


@pytest.mark.parametrize("content", ["", "3", "[", '"a"'])
def test_a_file_without_items_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=r"items\.json"):
        next(check_file(path, "generic"))


def test_of_two_baselines_and_two_collections_the_newest_is_kept(realdata: Path) -> None:
    place, catalogue = place_of("earth-search")
    items = [
        *recorded(realdata, "earthsearch__sentinel-2-l2a"),
        *recorded(realdata, "earthsearch__sentinel-2-c1-l2a"),
    ]
    scenes = [to_scene(item, S2, place, catalogue) for item in items]
    kept = newest(scenes, place.collections)
    assert newest(reversed(scenes), place.collections) == kept
    assert newest(kept, place.collections) == kept
    known = {(scene.platform, scene.datatake, scene.tile) for scene in scenes}
    assert {(scene.platform, scene.datatake, scene.tile) for scene in kept} == known
    assert len(kept) == len(known) < len(scenes)
    first = {(s.platform, s.datatake, s.tile) for s in scenes if s.collection.endswith("c1-l2a")}
    for scene in kept:
        is_first = (scene.platform, scene.datatake, scene.tile) in first
        assert scene.collection == ("sentinel-2-c1-l2a" if is_first else "sentinel-2-l2a")
    assert "S2A_32TNT_20200703_1_L2A" in {scene.id for scene in kept}
    assert "S2A_32TNT_20200703_0_L2A" not in {scene.id for scene in kept}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def cause_of(item: Raw, profile: str) -> str:
    place, catalogue = place_of(profile)
    try:
        to_scene(item, S2, place, catalogue)
    except SsclGeoError as error:
        return str(error)
    return ""


@settings(max_examples=60)
@given(data=st.data())
def test_rubbish_in_a_real_item_is_accepted_or_refused_but_never_breaks(
    realdata: Path, data: st.DataObject
) -> None:
    item = recorded(realdata, "earthsearch__sentinel-2-c1-l2a")[0]
    blue = item["assets"]["blue"]
    where = data.draw(st.sampled_from([item, item["properties"], item["assets"], blue]))
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(JUNK)
    assert "\n" not in cause_of(item, "earth-search")


@given(JUNK)
def test_rubbish_is_no_item(junk: Any) -> None:
    with pytest.raises(CatalogError):
        parse_item(junk)
