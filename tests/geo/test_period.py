from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.period import Period, parse_interval, split, unfinished

STARTS = st.dates(date(1990, 1, 1), date(2080, 1, 1))
WHOLES = st.builds(
    lambda start, days: Period(start=start, end=start + timedelta(days=days)),
    STARTS,
    st.integers(1, 2000),
)
DURATIONS = st.builds(
    lambda count, unit: f"P{count}{unit}", st.integers(1, 90), st.sampled_from("DMY")
)


@given(WHOLES, DURATIONS)
def test_pieces_follow_each_other_and_cover_the_whole(whole: Period, duration: str) -> None:
    pieces = split(whole, duration)
    assert pieces[0].start == whole.start
    assert pieces[-1].end == whole.end
    assert all(one.end == next_.start for one, next_ in pairwise(pieces))
    assert all(piece.start < piece.end for piece in pieces)


@given(WHOLES, DURATIONS, st.integers(-3, 2003), st.integers(0, 23))
def test_a_moment_of_the_whole_lies_in_one_piece(
    whole: Period, duration: str, day: int, hour: int
) -> None:
    midnight = datetime(whole.start.year, whole.start.month, whole.start.day, tzinfo=UTC)
    moment = midnight + timedelta(days=day, hours=hour)
    inside = sum(moment in piece for piece in split(whole, duration))
    assert inside == (moment in whole)


@given(STARTS, st.integers(1, 24), st.integers(0, 30))
def test_months_begin_on_the_day_of_the_first_or_on_their_last(
    start: date, count: int, pieces: int
) -> None:
    whole = Period(start=start, end=start + timedelta(days=31 * count * (pieces + 1)))
    for index, piece in enumerate(split(whole, f"P{count}M")):
        months = start.month - 1 + index * count
        assert (piece.start.year, piece.start.month) == (
            start.year + months // 12,
            months % 12 + 1,
        )
        is_last_day = (piece.start + timedelta(days=1)).day == 1
        assert piece.start.day == start.day or (is_last_day and piece.start.day < start.day)


@given(STARTS, st.integers(1, 5))
def test_a_year_is_twelve_months(start: date, years: int) -> None:
    whole = Period(start=start, end=start + timedelta(days=3000))
    assert split(whole, f"P{years}Y") == split(whole, f"P{12 * years}M")


def test_quarters_of_a_year() -> None:
    names = [piece.name for piece in split(parse_interval("2024-01-01/2024-12-31"), "P3M")]
    assert names == [
        "2024-01-01/2024-04-01",
        "2024-04-01/2024-07-01",
        "2024-07-01/2024-10-01",
        "2024-10-01/2025-01-01",
    ]


def test_the_last_piece_may_be_shorter() -> None:
    pieces = split(parse_interval("2024-01-01/2024-01-25"), "P10D")
    assert [(piece.end - piece.start).days for piece in pieces] == [10, 10, 5]


@given(WHOLES, DURATIONS)
def test_a_last_piece_that_is_cut_off_is_a_whole_one_of_a_longer_interval(
    whole: Period, duration: str
) -> None:
    pieces, found = split(whole, duration), unfinished(whole, duration)
    if found is None:
        longer = whole.replace(end=whole.end + timedelta(days=1))
        assert len(pieces) == 1 or split(longer, duration)[:-1] == pieces
    else:
        assert found.days > pieces[-1].days
        assert split(whole.replace(end=found.end), duration) == (*pieces[:-1], found)


@pytest.mark.parametrize("duration", ["P9000Y", "P999999999D"])
def test_a_duration_longer_than_history_gives_one_piece(duration: str) -> None:
    whole = parse_interval("2024-01-01/2024-12-31")
    assert split(whole, duration) == (whole,)


@pytest.mark.parametrize(
    "duration", ["", "P", "3M", "P0M", "P-1M", "P1W", "P1.5M", "P1M2D", "p1m", "P1M ", "PT1H"]
)
def test_another_duration_is_refused(duration: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--period .*P10D, P3M or P1Y"):
        split(parse_interval("2024-01-01/2024-12-31"), duration)


def test_the_last_day_of_an_interval_belongs_to_it() -> None:
    period = parse_interval(" 2024-02-01 / 2024-02-29 ")
    assert period == Period(start=date(2024, 2, 1), end=date(2024, 3, 1))
    assert datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC) in period
    assert datetime(2024, 3, 1, tzinfo=UTC) not in period


def test_a_day_begins_at_midnight_in_utc() -> None:
    period = parse_interval("2024-02-01/2024-02-01")
    east = timezone(timedelta(hours=9))
    assert datetime(2024, 2, 1, 8, 59, tzinfo=east) not in period
    assert datetime(2024, 2, 1, 9, 0, tzinfo=east) in period
    assert datetime(2024, 2, 2, 8, 59, tzinfo=east) in period


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2024-01-01", "give two dates"),
        ("2024-01-01/", "give two dates"),
        ("2024-01-01/2024-02-30", "give two dates"),
        ("2024-01-01/2024-02-01/2024-03-01", "give two dates"),
        ("yesterday/today", "give two dates"),
        ("2024-02-01/2024-01-31", "swap them"),
        ("2024-04-01/9999-12-31", r"within 1900\.\.2200"),
        ("0001-01-01/2024-04-01", r"within 1900\.\.2200"),
    ],
)
def test_what_is_no_interval_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=f"--datetime .*{told}"):
        parse_interval(text)
