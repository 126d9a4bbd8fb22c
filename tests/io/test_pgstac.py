"""Searching a STAC API that has a real database: pages, pieces and CQL2 over 2,500 items."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pystac_client import Client

from sscl_geo import plugins
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period, parse_interval
from sscl_geo.geo.scene import Scene
from sscl_geo.io.catalog import search
from sscl_geo.io.profile import source
from sscl_geo.io.search import MAX_PAGES, Query, api_items
from tests.faults.proxy import Plan, faulty
from tests.servers.pgstac import missing, pgstac

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

Raw = dict[str, Any]
COUNT = 2500
YEAR = Period(start=dt.date(2024, 1, 1), end=dt.date(2025, 1, 1))
MAY = Period(start=dt.date(2024, 5, 1), end=dt.date(2024, 6, 1))
WORLD = BBox(-180, -90, 180, 90)


def moment(number: int) -> dt.datetime:
    """Return an item's time; some are at midnight between two months."""
    rng = np.random.default_rng(number)
    if number % 50 == 0:
        return dt.datetime(2024, 1 + number // 50 % 12, 1, tzinfo=dt.UTC)
    return dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
        seconds=int(rng.integers(0, 365 * 86400))
    )


def item(number: int) -> Raw:
    rng = np.random.default_rng([number, 1])
    x, y = rng.uniform((-179, -80), (178, 80))
    corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"item-{number}",
        "collection": "squares",
        "bbox": [x, y, x + 1, y + 1],
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"datetime": moment(number).isoformat()},
        "links": [],
        "assets": {},
    }


def collection(name: str) -> Raw:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
        "links": [],
    }


ITEMS = [item(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def recorded(realdata: Path) -> list[Raw]:
    """Sentinel-2 items as the Planetary Computer returned them, each once."""
    path = realdata / "stac_items" / "pc__sentinel-2-l2a.json"
    features = json.loads(path.read_text())["features"]
    return [*{feature["id"]: feature for feature in features}.values()]


@pytest.fixture(scope="module")
def api(recorded: list[Raw]) -> Iterator[str]:
    with pgstac([collection("squares"), collection("sentinel-2-l2a")], [*ITEMS, *recorded]) as url:
        yield url


def asked(api: str, box: BBox = WORLD, interval: Period = YEAR, page_items: int = 250) -> Query:
    return Query(
        address=api,
        collections=("squares",),
        boxes=(box,),
        interval=interval,
        page_items=page_items,
    )


def ids(query: Query) -> list[str]:
    return [found["id"] for found in api_items(query)]


def oracle(box: BBox, interval: Period) -> set[str]:
    first, last = (f"{day}T00:00:00+00:00" for day in (interval.start, interval.end))
    return {
        one["id"]
        for one in ITEMS
        if first <= one["properties"]["datetime"] <= last
        and one["bbox"][0] <= box.east
        and one["bbox"][2] >= box.west
        and one["bbox"][1] <= box.north
        and one["bbox"][3] >= box.south
    }


def test_every_item_comes_once(api: str) -> None:
    found = ids(asked(api, page_items=100))
    assert len(found) == len(set(found)) == COUNT
    assert set(found) == oracle(WORLD, YEAR)


def test_a_search_of_too_many_pages_is_quartered(api: str) -> None:
    wanted, page_items = oracle(WORLD, MAY), 5
    assert len(wanted) > MAX_PAGES * page_items
    found = ids(asked(api, interval=MAY, page_items=page_items))
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_a_server_that_only_takes_get_gives_the_same(api: str) -> None:
    plan = Plan(share=0, rewrite=(('"method":"POST"', '"method":"GET"'),))
    with faulty(api, plan) as only_get:
        found = ids(asked(only_get.url, interval=MAY, page_items=37))
        assert len(found) == len(set(found))
        assert set(found) == oracle(WORLD, MAY)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_and_days_are_those_asked_for(api: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    west, south = rng.uniform((-180, -80), (100, 40))
    box = BBox(west, south, west + rng.uniform(1, 80), south + rng.uniform(1, 40))
    start = dt.date(2024, 1, 1) + dt.timedelta(days=int(rng.integers(0, 300)))
    days = Period(start=start, end=start + dt.timedelta(days=int(rng.integers(1, 200))))
    assert set(ids(asked(api, box, days))) == oracle(box, days)


def test_scenes_below_a_share_of_clouds_are_those_that_the_database_names(
    api: str, recorded: list[Raw]
) -> None:
    sensor = plugins.find("sscl_geo.sensors", "sentinel2_l2a").SENSOR
    catalogue, percent = source(api, "planetary-computer"), 10
    days = sorted(one["properties"]["datetime"][:10] for one in recorded)
    time = parse_interval(f"{days[0]}/{days[-1]}")
    every = search(catalogue, sensor, WORLD, time).scenes

    def is_clear(scene: Scene) -> bool:
        return (scene.cloud_cover or 0) <= percent

    found = search(catalogue, sensor, WORLD, time, is_wanted=is_clear).scenes
    clear = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, percent]}
    named = Client.open(api).search(
        collections=["sentinel-2-l2a"], filter=clear, filter_lang="cql2-json", limit=100
    )
    wanted = {one.id for one in named.items()} & {scene.id for scene in every}
    assert {scene.id for scene in found} == wanted
    assert len(every) > 50
    assert 0 < len(found) < len(every)
