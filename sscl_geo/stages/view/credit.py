"""Whose data a map is made of."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sscl_geo.geo.period import Period
from sscl_geo.io.plan import Plan

SENTINEL = "Contains modified Copernicus Sentinel data"
"""What the Copernicus terms ask for, with the years of the data behind it."""


def credit(plans: Sequence[Plan]) -> str:
    """Return the line of credit of maps; empty if none says that it is made of Sentinel data."""
    years = sorted({year for plan in plans if _is_sentinel(plan) for year in _years(plan)})
    if not years:
        return ""
    return f"{SENTINEL} {years[0]}" + (f"-{years[-1]}" if len(years) > 1 else "")


def _is_sentinel(plan: Plan) -> bool:
    sensors = plan.content.get("sensors")
    return isinstance(sensors, list) and any(str(name).startswith("sentinel") for name in sensors)


def _years(plan: Plan) -> Iterator[int]:
    interval = Period.model_validate(plan.content["interval"])
    yield interval.start.year
    yield (interval.end - timedelta(days=1)).year
