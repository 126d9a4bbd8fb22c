"""The periods of a cube, and a word on a last one that is cut short."""

import logging
from datetime import timedelta

from sscl_geo.geo.period import Period, split, unfinished

_log = logging.getLogger(__name__)


def periods_of(interval: Period, duration: str) -> tuple[Period, ...]:
    """Cut an interval into periods; say so if the last of several is shorter than the others.

    Raises:
        InvalidInputError: The duration is none.
    """
    periods = split(interval, duration)
    whole, last = unfinished(interval, duration), periods[-1]
    if whole is not None:
        day = timedelta(days=1)
        _log.warning(
            "--period %s: the last of %d periods, from %s, has %d of its %d days; end --datetime "
            "on %s to leave it out or on %s to fill it, or take another --period",
            *(duration, len(periods), last.start, last.days, whole.days),
            *(last.start - day, whole.end - day),
        )
    return periods
