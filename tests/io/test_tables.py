import io
from datetime import UTC, datetime, timedelta, timezone

import geopandas
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.scene import Scene
from sscl_geo.io.tables import SearchRecord, read_record, read_scenes, records_table, scenes_table

EPOCH = datetime(1980, 1, 1, tzinfo=UTC)
BOXES = st.builds(
    BBox, st.floats(-180, 180), st.floats(-90, 0), st.floats(-180, 180), st.floats(0.001, 90)
)
SCENES = st.builds(
    Scene,
    id=st.text(),
    collection=st.just("sentinel-2-l2a"),
    sensor=st.just("sentinel2_l2a"),
    datetime=st.integers(0, 4 * 10**15).map(
        lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
    ),
    bbox=BOXES,
    hrefs=st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    mask_href=st.none() | st.text(),
    harmonise=st.sampled_from([0, 1000]),
    witness=st.text(max_size=5),
    relative_orbit=st.none() | st.integers(1, 175),
)


def scene(box: BBox, moment: datetime) -> Scene:
    return Scene(
        id="S2A", collection="c", sensor="s", datetime=moment, bbox=box, hrefs=(("B02", "a.tif"),)
    )


@settings(max_examples=30)
@given(st.lists(SCENES, max_size=5))
def test_scenes_survive_their_table(scenes: list[Scene]) -> None:
    read = read_scenes(scenes_table(scenes))
    assert read == tuple(scenes)
    assert [item.digest for item in read] == [item.digest for item in scenes]


def test_the_table_opens_as_geoparquet() -> None:
    east = timezone(timedelta(hours=9))
    scenes = [
        scene(BBox(9, 48, 10, 49), datetime(2024, 5, 1, 8, 30, tzinfo=east)),
        scene(BBox(179, -18, -179, -16), datetime(2024, 5, 2, 1, 2, 3, 456789, tzinfo=UTC)),
    ]
    frame = geopandas.read_parquet(io.BytesIO(scenes_table(scenes)))
    assert frame.crs == "EPSG:4326"
    assert frame["id"].tolist() == ["S2A", "S2A"]
    assert [moment.to_pydatetime() for moment in frame["datetime"]] == [
        item.datetime for item in scenes
    ]
    assert frame.geometry.iloc[0].bounds == (9, 48, 10, 49)
    around = frame.geometry.iloc[1]
    assert around.area == 4
    assert around.intersects(Point(179.5, -17))
    assert around.intersects(Point(-179.5, -17))
    assert not around.intersects(Point(0, -17))


def test_the_table_keeps_where_and_when_it_was_searched() -> None:
    scenes = [scene(BBox(9, 48, 10, 49), EPOCH)]
    record = SearchRecord(catalog="https://stac.example.org/v1", query="ab12", asked=EPOCH)
    content = scenes_table(scenes, record)
    assert read_record(content) == record
    assert read_record(scenes_table(scenes)) is None
    assert read_scenes(content) == read_scenes(scenes_table(scenes)) == tuple(scenes)
    assert geopandas.read_parquet(io.BytesIO(content)).crs == "EPSG:4326"


def test_records_keep_their_order_and_tell_nested_values_as_json() -> None:
    content = records_table(
        [
            {"key": "b", "status": "done", "checksums": {"y": "2", "x": "1"}, "pixels": 4},
            {"key": "a", "status": "empty", "checksums": {}, "pixels": 0},
        ]
    )
    frame = pd.read_parquet(io.BytesIO(content))
    assert frame["key"].tolist() == ["b", "a"]
    assert frame["checksums"].tolist() == ['{"x":"1","y":"2"}', "{}"]
    assert frame["pixels"].tolist() == [4, 0]
