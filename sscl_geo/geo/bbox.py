"""Bounding boxes in longitude and latitude."""

from collections.abc import Sequence
from typing import NamedTuple

from sscl_geo.errors import InvalidInputError

EAST_EDGE = 180.0
POLE = 90.0
MAX_SPAN = 180.0
FULL_TURN = 360.0


class BBox(NamedTuple):
    """A box in degrees (EPSG:4326); `west > east` means that it crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @property
    def crosses_antimeridian(self) -> bool:
        """Whether the box runs over longitude 180."""
        return self.west > self.east

    @property
    def middle_longitude(self) -> float:
        """Longitude half way from west to east; more than 180 beyond the antimeridian."""
        return self.west + (self.east - self.west) % 360 / 2

    def split(self) -> tuple["BBox", ...]:
        """Return the box as one or two boxes with `west < east`."""
        if not self.crosses_antimeridian:
            return (self,)
        return (self._replace(east=EAST_EDGE), self._replace(west=-EAST_EDGE))

    def widened(self, across: float, up: float) -> "BBox":
        """Return the box with a margin of degrees, which ends at the poles."""
        south, north = max(self.south - up, -POLE), min(self.north + up, POLE)
        span = self.east - self.west
        if span >= FULL_TURN or span % FULL_TURN + 2 * across >= FULL_TURN:
            return BBox(-EAST_EDGE, south, EAST_EDGE, north)
        west, east = self.west - across, self.east + across
        west = west + 360 if west < -EAST_EDGE else west
        return BBox(west, south, east - 360 if east > EAST_EDGE else east, north)


def checked_bbox(west: float, south: float, east: float, north: float) -> BBox:
    """Return the box if it is one on this planet.

    Raises:
        InvalidInputError: A side is outside the world, south is not below north, or west is not
            west of east. A box that crosses the antimeridian has `west > east` and spans at most
            180 degrees, so that swapped sides are not taken for one.
    """
    west = -EAST_EDGE if west == EAST_EDGE else west
    east = EAST_EDGE if east == -EAST_EDGE else east
    box = BBox(west, south, east, north)
    told = "--bbox " + " ".join(f"{value:g}" for value in box)
    if not (abs(west) <= EAST_EDGE >= abs(east) and abs(south) <= POLE >= abs(north)):
        raise InvalidInputError(
            f"{told}: outside the world; give W S E N in degrees, longitude within "
            "-180..180, latitude within -90..90"
        )
    if south >= north:
        raise InvalidInputError(f"{told}: south must be below north; give the order W S E N")
    if west == east or (west > east and east - west + 360 > MAX_SPAN):
        raise InvalidInputError(
            f"{told}: west must be west of east; give the order W S E N (a box over the "
            "antimeridian has W > E, such as 178 -18 -179 -16)"
        )
    return box


def hull(boxes: Sequence[BBox]) -> BBox:
    """Return the narrowest box around boxes; it crosses the antimeridian where that is narrower."""
    south, north = min(box.south for box in boxes), max(box.north for box in boxes)
    west, east, widest = _without_gap(
        sorted((part.west, part.east) for box in boxes for part in box.split())
    )
    # Boxes that end and begin at the antimeridian leave no gap there.
    return BBox(west, south, east, north) if widest else BBox(-EAST_EDGE, south, EAST_EDGE, north)


def _without_gap(spans: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return west and east of a circle less its widest gap between spans, and how wide that is.

    Args:
        spans: West and east within -180..180, in order of their west.
    """
    west, east = spans[0][0], max(span[1] for span in spans)
    widest, reached = west + FULL_TURN - east, spans[0][1]
    for begin, end in spans:
        if begin - reached > widest:
            west, east, widest = begin, reached, begin - reached
        reached = max(reached, end)
    return west, east, widest


def meet(one: BBox, other: BBox) -> bool:
    """Whether two boxes share a point; either may cross the antimeridian."""
    return any(_touch(mine, theirs) for mine in one.split() for theirs in other.split())


def _touch(one: BBox, other: BBox) -> bool:
    return (
        one.west <= other.east
        and other.west <= one.east
        and one.south <= other.north
        and other.south <= one.north
    )
