"""Half-open intervals of time in UTC."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen

YEARS = (1900, 2200)
"""First and last year that an interval may name."""

_DURATION = re.compile(r"P(\d+)([DMY])")


class Period(Frozen):
    """A half-open interval of days, `start <= day < end`, in UTC."""

    start: date
    end: date

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment.astimezone(UTC).date() < self.end

    @property
    def days(self) -> int:
        """Its length in days."""
        return (self.end - self.start).days

    @property
    def name(self) -> str:
        """The period as `start/end`, both ISO 8601 dates, the end exclusive."""
        return f"{self.start.isoformat()}/{self.end.isoformat()}"


def parse_interval(text: str) -> Period:
    """Return `A/B` as a period; B is the last day and belongs to it, as in a STAC search.

    Raises:
        InvalidInputError: The text is not two ISO 8601 dates of `YEARS`, or B lies before A.
    """
    try:
        start, end = (date.fromisoformat(part.strip()) for part in text.split("/"))
    except ValueError:
        raise InvalidInputError(
            f"--datetime {text!r}: give two dates, first day / last day, such as "
            "2024-01-01/2024-12-31"
        ) from None
    if end < start:
        raise InvalidInputError(
            f"--datetime {text!r}: the last day lies before the first; swap them"
        )
    if start.year < YEARS[0] or end.year > YEARS[1]:
        raise InvalidInputError(
            f"--datetime {text!r}: years must be within {YEARS[0]}..{YEARS[1]}; name nearer days"
        )
    return Period(start=start, end=end + timedelta(days=1))


def split(whole: Period, duration: str) -> tuple[Period, ...]:
    """Cut a period into consecutive pieces of an ISO 8601 duration; the last one may be shorter.

    Raises:
        InvalidInputError: The duration is not of the form PnD, PnM or PnY with n >= 1.
    """
    return tuple(_pieces(whole, *_parsed(duration)))


def unfinished(whole: Period, duration: str) -> Period | None:
    """Return the last of several pieces as it would be if the whole did not cut it off, else None.

    A whole that is shorter than the duration is a piece by itself, and nothing is cut off.

    Raises:
        InvalidInputError: As `split` does.
    """
    pieces, (count, unit) = split(whole, duration), _parsed(duration)
    end = _after(whole.start, count * len(pieces), unit)
    is_cut = len(pieces) > 1 and end > whole.end
    return Period(start=pieces[-1].start, end=end) if is_cut else None


def _parsed(duration: str) -> tuple[int, str]:
    match = _DURATION.fullmatch(duration)
    if not match or int(match[1]) == 0:
        raise InvalidInputError(
            f"--period {duration!r}: give a whole number of days, months or years, such as "
            "P10D, P3M or P1Y"
        )
    return int(match[1]), match[2]


def _pieces(whole: Period, count: int, unit: str) -> Iterator[Period]:
    start, step = whole.start, 1
    while start < whole.end:
        end = min(_after(whole.start, count * step, unit), whole.end)
        yield Period(start=start, end=end)
        start, step = end, step + 1


def _after(start: date, count: int, unit: str) -> date:
    try:
        return _shifted(start, count, unit)
    except (ValueError, OverflowError):
        return date.max


def _shifted(start: date, count: int, unit: str) -> date:
    if unit == "D":
        return start + timedelta(days=count)
    months = start.month - 1 + count * (12 if unit == "Y" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return min(date(year, month, 1) + timedelta(days=start.day - 1), following - timedelta(days=1))
