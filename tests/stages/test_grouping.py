"""Which scenes make an observation, and which orbit a tile takes."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene
from sscl_geo.io.catalog import Found
from sscl_geo.stages.ingest.grouping import (
    coverage,
    observations,
    one_orbit,
    solar_day,
    solar_days,
)
from sscl_geo.stages.ingest.plan import of_days

TILE = BBox(10, 50, 10.3, 50.2)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2020, 3, 1), timezones=st.just(UTC))  # noqa: DTZ001


def scene(name: str, when: datetime, box: BBox = TILE, orbit: str = "") -> Scene:
    return Scene(
        id=name,
        collection="c",
        sensor="sentinel1_rtc" if orbit else "sentinel2_l2a",
        datetime=when,
        bbox=box,
        hrefs=(),
        witness="" if orbit else "baseline",
        orbit=orbit or "descending",
    )


@given(st.lists(MOMENTS, max_size=12), st.floats(-180, 180), st.integers(0, 99))
def test_every_scene_is_in_the_observation_of_its_solar_day_whatever_the_order(
    moments: list[datetime], longitude: float, seed: int
) -> None:
    scenes = [scene(f"s{number}", when) for number, when in enumerate(moments)]
    days = observations(scenes, longitude)
    shuffled = random.Random(seed).sample(scenes, len(scenes))  # noqa: S311
    assert observations(shuffled, longitude) == days
    assert sorted(s.id for day in days for s in day) == sorted(s.id for s in scenes)
    numbers = [solar_day(day[0], longitude) for day in days]
    assert numbers == sorted(set(numbers))
    assert all(
        solar_day(s, longitude) == n for n, day in zip(numbers, days, strict=True) for s in day
    )


def test_an_overflight_near_midnight_of_utc_is_one_observation() -> None:
    fiji = 178.0
    granules = [scene("a", datetime(2020, 1, 1, 23, 59, 50, tzinfo=UTC))]
    granules.append(scene("b", granules[0].datetime + timedelta(seconds=20)))
    assert [len(day) for day in observations(granules, fiji)] == [2]
    assert [len(day) for day in observations(granules, 0.0)] == [1, 1]


WHEN = datetime(2020, 1, 1, tzinfo=UTC)
WEST = BBox(9, 49, 10.1, 51)
WHOLE = BBox(9, 49, 11, 51)


def test_auto_takes_the_orbit_that_covers_most_not_the_one_of_most_scenes() -> None:
    many = [scene(f"d{n}", WHEN, WEST, "descending") for n in range(5)]
    one = scene("a0", WHEN, WHOLE, "ascending")
    optical = scene("s2", WHEN)
    assert one_orbit([*many, one, optical], TILE, "auto") == (one, optical)
    assert one_orbit([*many, one, optical], TILE, "descending") == (*many, optical)


def test_of_two_orbits_that_cover_alike_the_one_of_most_scenes_wins_then_the_first_by_name() -> (
    None
):
    up = [scene(f"a{n}", WHEN, WHOLE, "ascending") for n in range(2)]
    down = [scene(f"d{n}", WHEN, WHOLE, "descending") for n in range(2)]
    assert one_orbit([*down, *up], TILE, "auto") == tuple(up)
    assert one_orbit([*up, *down, down[0]], TILE, "auto") == (*down, down[0])


@pytest.mark.parametrize(("boxes", "share"), [((), 0), ((WEST,), 1 / 3), ((WEST, WHOLE), 1)])
def test_coverage_is_that_of_all_footprints_together(boxes: tuple[BBox, ...], share: float) -> None:
    scenes = [scene(str(n), WHEN, box) for n, box in enumerate(boxes)]
    assert coverage(scenes, TILE) == pytest.approx(share)


def test_a_scene_over_the_date_line_is_of_the_days_of_both_sides() -> None:
    over = scene("a", datetime(2024, 4, 30, 22, 30, tzinfo=UTC), BBox(179.4, -18, -179.6, -17))
    days = {solar_day(over, longitude) for longitude in (179.4, -179.6)}
    assert days == {date(2024, 5, 1), date(2024, 4, 30)}
    for month, is_kept in ((3, False), (4, True), (5, True), (6, False)):
        whole = Period(start=date(2024, month, 1), end=date(2024, month + 1, 1))
        assert bool(of_days(Found((over,), ()), whole).scenes) is is_kept


@given(st.lists(MOMENTS, min_size=1, max_size=9), st.floats(-179, 179), st.floats(0, 20))
def test_the_days_of_an_area_hold_the_day_of_every_scene_at_each_of_its_places(
    moments: list[datetime], west: float, width: float
) -> None:
    east = west + width + 0.01
    area = BBox(west, 0, east - 360 if east > 180 else east, 1)
    scenes = [scene(f"s{number}", when) for number, when in enumerate(moments)]
    days = {period.start for period in solar_days(scenes, area)}
    for part in area.split():
        for longitude in (part.west, (part.west + part.east) / 2, part.east):
            assert {solar_day(s, longitude) for s in scenes} <= days
