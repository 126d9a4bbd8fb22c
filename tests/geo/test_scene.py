from datetime import UTC, datetime
from random import Random

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.scene import Scene, newest


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    west, south = draw(st.floats(-180, 180)), draw(st.floats(-90, 80))
    east = west + draw(st.floats(0, 20))
    return BBox(west, south, east if east <= 180 else east - 360, south + draw(st.floats(0, 10)))


def scene_at(box: BBox) -> Scene:
    return Scene(
        id="a",
        collection="c",
        sensor="sentinel2_l2a",
        datetime=datetime(2024, 5, 1, 10, tzinfo=UTC),
        bbox=box,
        hrefs=(("B02", "http://host/b02.tif"), ("B03", "http://host/b03.tif")),
    )


@given(boxes(), boxes())
def test_overlap_does_not_depend_on_who_is_asked(one: BBox, other: BBox) -> None:
    assert scene_at(one).overlaps(other) == scene_at(other).overlaps(one)


@given(boxes())
def test_a_scene_overlaps_its_own_box(box: BBox) -> None:
    assert scene_at(box).overlaps(box)


@given(boxes(), st.floats(0, 1), st.floats(0, 1))
def test_a_scene_overlaps_every_box_around_a_point_of_it(
    box: BBox, across: float, up: float
) -> None:
    longitude = box.west + across * ((box.east - box.west) % 360)
    longitude = longitude - 360 if longitude > 180 else longitude
    latitude = box.south + up * (box.north - box.south)
    west, east = longitude - 0.001, longitude + 0.001
    around = BBox(
        west if west >= -180 else west + 360,
        latitude - 0.001,
        east if east <= 180 else east - 360,
        latitude + 0.001,
    )
    assert scene_at(box).overlaps(around)


@pytest.mark.parametrize(
    ("other", "meets"),
    [
        (BBox(-179.5, 0, -179, 1), True),
        (BBox(178.5, 0, 178.9, 1), False),
        (BBox(-178.5, 0, 178.5, 1), False),
        (BBox(179.5, 2.5, -179.5, 3), False),
        (BBox(179.9, 0, 180, 1), True),
    ],
)
def test_a_scene_over_the_antimeridian_meets_both_sides(other: BBox, meets: bool) -> None:
    assert scene_at(BBox(179, 0, -179, 2)).overlaps(other) is meets


def test_a_band_has_an_address() -> None:
    assert scene_at(BBox(0, 0, 1, 1)).href("B03") == "http://host/b03.tif"


@given(boxes())
def test_a_scene_survives_json(box: BBox) -> None:
    scene = scene_at(box)
    assert Scene.model_validate_json(scene.model_dump_json()) == scene


@st.composite
def observed(draw: st.DrawFn) -> list[Scene]:
    """Return scenes of few datatakes, tiles, baselines, collections and grounds."""
    wests = st.sampled_from([0.0, 0.1, 5.0])
    scenes = [
        scene_at(BBox(west, 0, west + 1, 1)).replace(
            id=f"i{index}",
            platform=draw(st.sampled_from(["sentinel-2a", "sentinel-2b"])),
            datatake=draw(st.sampled_from(["20240501T100559", "20240502T100559"])),
            tile=draw(st.sampled_from(["32UNU", None])),
            baseline=draw(st.sampled_from(["02.14", "05.00", "05.11", None])),
            collection=draw(st.sampled_from(["old", "new"])),
        )
        for index, west in enumerate(draw(st.lists(wests, max_size=6)))
    ]
    return draw(st.permutations(scenes))


@given(observed(), st.randoms())
def test_the_newest_do_not_depend_on_order(scenes: list[Scene], random: Random) -> None:
    kept = newest(scenes, ("new", "old"))
    random.shuffle(scenes)
    assert newest(scenes, ("new", "old")) == kept
    assert newest(kept, ("new", "old")) == kept


@given(observed())
def test_every_ground_and_datatake_stays_seen(scenes: list[Scene]) -> None:
    kept = newest(scenes)
    for scene in scenes:
        rivals = [s for s in kept if (s.platform, s.datatake) == (scene.platform, scene.datatake)]
        seen = shapely.union_all([rival.outline for rival in rivals]).intersection(scene.outline)
        assert seen.area >= 0.5 * scene.outline.area
        assert scene in kept or any((s.baseline or "") >= (scene.baseline or "") for s in rivals)
    assert {scene.id for scene in scenes if scene.tile is None} <= {scene.id for scene in kept}


@given(observed())
def test_a_preferred_collection_is_only_supplemented(scenes: list[Scene]) -> None:
    for scene in newest(scenes, ("new", "old")):
        rivals = [
            other.collection
            for other in scenes
            if scene.tile
            and other.outline.equals(scene.outline)
            and (other.platform, other.datatake, other.tile)
            == (scene.platform, scene.datatake, scene.tile)
        ]
        assert scene.collection == "new" or "new" not in rivals


def test_the_outline_is_the_footprint_or_the_box() -> None:
    scene = scene_at(BBox(179, 0, -179, 2))
    assert scene.outline.area == 4
    assert scene.replace(footprint="POLYGON ((0 0, 1 0, 1 1, 0 0))").outline.area == 0.5
