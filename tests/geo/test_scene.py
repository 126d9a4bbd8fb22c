from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.scene import Scene


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
