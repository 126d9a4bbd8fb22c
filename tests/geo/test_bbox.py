import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.bbox import BBox, checked_bbox, hull

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-90, 90)


def holds(box: BBox, longitude: float) -> bool:
    if box.crosses_antimeridian:
        return longitude >= box.west or longitude <= box.east
    return box.west <= longitude <= box.east


@given(LONGITUDES, LONGITUDES, LATITUDES, LATITUDES)
def test_a_box_on_this_planet_is_taken_as_it_is(
    west: float, east: float, south: float, north: float
) -> None:
    assume(south < north and (west < east or 0 < east + 360 - west <= 180))
    expected = (-180.0 if west == 180 else west, south, 180.0 if east == -180 else east, north)
    assert checked_bbox(west, south, east, north) == expected


@given(LONGITUDES, LONGITUDES, LONGITUDES)
def test_the_parts_of_a_box_hold_what_the_box_holds(west: float, east: float, at: float) -> None:
    assume(west < east or 0 < east + 360 - west <= 180)
    box = checked_bbox(west, -10, east, 10)
    parts = box.split()
    assert all(part.west < part.east for part in parts)
    if abs(at) < 180:
        assert holds(box, at) == any(holds(part, at) for part in parts)
    assert all((part.south, part.north) == (-10, 10) for part in parts)


def test_a_box_over_the_antimeridian_has_two_parts() -> None:
    assert checked_bbox(178, -18, -179, -16).split() == (
        BBox(178, -18, 180, -16),
        BBox(-180, -18, -179, -16),
    )


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        ((10.0, 48.0, 9.0, 49.0), "west must be west of east"),
        ((9.0, 48.0, 9.0, 49.0), "west must be west of east"),
        ((9.0, 49.0, 10.0, 48.0), "south must be below north"),
        ((9.0, 49.0, 10.0, 49.0), "south must be below north"),
        ((48.0, 9.0, 49.0, 100.0), "outside the world"),
        ((-181.0, 0.0, 0.0, 1.0), "outside the world"),
        ((math.nan, 0.0, 1.0, 1.0), "outside the world"),
        ((0.0, 0.0, 1.0, math.inf), "outside the world"),
    ],
)
def test_what_is_no_box_is_refused_with_its_sides(
    sides: tuple[float, float, float, float], told: str
) -> None:
    with pytest.raises(InvalidInputError, match=rf"--bbox {sides[0]:g} .*{told}"):
        checked_bbox(*sides)


@given(st.lists(st.tuples(st.integers(-180, 170), st.integers(1, 10)), min_size=1, max_size=5))
def test_a_hull_is_the_narrowest_box_around_all(spans: list[tuple[int, int]]) -> None:
    boxes = [BBox(west, 0, west + wide, 1) for west, wide in spans]
    around = hull(boxes)
    assert all(holds(around, side) for box in boxes for side in (box.west, box.east))
    degrees = {(west + step) % 360 for west, wide in spans for step in range(wide)}
    gaps = [next(n for n in range(361) if (at + n) % 360 in degrees) for at in range(360)]
    assert (around.east - around.west) % 360 in {360 - max(gaps), -max(gaps) % 360}


def test_a_hull_runs_over_the_antimeridian_where_that_is_narrower() -> None:
    islands, chatham = BBox(166, -48, 179, -34), BBox(-177, -45, -176, -43)
    assert hull([islands, chatham]) == BBox(166, -48, -176, -34)
    assert hull([BBox(-180, 0, -170, 1), BBox(170, 0, 180, 1)]) == BBox(170, 0, -170, 1)


def test_a_hull_around_a_pole_stays_whole_beside_a_box_over_the_antimeridian() -> None:
    pole, crossing = BBox(-180, 88, 180, 90), BBox(170, 80, -170, 85)
    assert hull([pole, crossing]) == hull([crossing, pole]) == BBox(-180, 80, 180, 90)
