from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.geo.footprint import footprint


def ring(*points: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*map(list, points), list(points[0])]]}


@given(st.floats(-179, 160), st.floats(-80, 60), st.floats(0.1, 15), st.floats(0.1, 15))
def test_a_box_is_its_own_footprint(west: float, south: float, width: float, height: float) -> None:
    east, north = west + width, south + height
    told = footprint(ring((west, south), (east, south), (east, north), (west, north)))
    assert shapely.from_wkt(told).bounds == pytest.approx((west, south, east, north), abs=1e-6)


def test_holes_and_heights_are_left_out() -> None:
    geometry = ring((0, 0), (4, 0), (4, 4), (0, 4))
    geometry["coordinates"].append([[1, 1], [2, 1], [2, 2], [1, 1]])
    geometry["coordinates"] = [[[*point, 7] for point in part] for part in geometry["coordinates"]]
    told = shapely.from_wkt(footprint(geometry))
    assert told.area == 16
    assert not told.has_z


def test_a_ring_that_jumps_over_the_antimeridian_is_cut_there() -> None:
    told = shapely.from_wkt(footprint(ring((179, 0), (-179, 0), (-179, 2), (179, 2))))
    assert told.area == pytest.approx(4)
    assert {part.bounds for part in shapely.get_parts(told)} == {
        (179, 0, 180, 2),
        (-180, 0, -179, 2),
    }


def test_parts_stay_parts() -> None:
    parts = [ring((x, 0), (x + 1, 0), (x + 1, 1), (x, 1))["coordinates"] for x in (0, 5)]
    two = {"type": "MultiPolygon", "coordinates": parts}
    assert shapely.from_wkt(footprint(two)).area == 2


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {},
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": "here"},
        {"type": "Blob", "coordinates": [0]},
    ],
)
def test_what_is_no_area_is_no_footprint(geometry: Any) -> None:
    assert footprint(geometry) == ""


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=3, max_size=8))
def test_whatever_a_ring_is_its_footprint_is_valid_and_on_the_map(
    points: list[tuple[float, float]],
) -> None:
    told = shapely.from_wkt(footprint(ring(*points)) or "POLYGON EMPTY")
    west, south, east, north = told.bounds if not told.is_empty else (0, 0, 0, 0)
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
