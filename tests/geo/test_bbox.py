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


def test_a_hull_around_a_pole_stays_whole_beside_a_box_over_the_antimeridian() -> None:
    pole, crossing = BBox(-180, 88, 180, 90), BBox(170, 80, -170, 85)
    assert hull([pole, crossing]) == hull([crossing, pole]) == BBox(-180, 80, 180, 90)
