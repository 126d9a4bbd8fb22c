"""Which scenes make an observation, and which orbit a tile takes."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby

import shapely

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene

DEGREES_PER_HOUR = 15.0
SHARES = (0.0, 0.5, 1.0)
"""Where in an area its days are looked for: no area is so wide that a day hides between."""


def solar_day(scene: Scene, longitude: float) -> date:
    """Return the day of a scene in local mean solar time, so that no overflight spans two days."""
    return (scene.datetime + timedelta(hours=longitude / DEGREES_PER_HOUR)).date()


def solar_days(scenes: Sequence[Scene], area: BBox) -> tuple[Period, ...]:
    """Return the solar days of scenes anywhere in an area, ascending."""
    edges = [(part.west, part.east) for part in area.split()]
    longitudes = [(1 - share) * west + share * east for west, east in edges for share in SHARES]
    days = {solar_day(scene, longitude) for scene in scenes for longitude in longitudes}
    return tuple(Period(start=day, end=day + timedelta(days=1)) for day in sorted(days))


def observations(scenes: Sequence[Scene], longitude: float) -> tuple[tuple[Scene, ...], ...]:
    """Return the scenes of each solar day, by time and id: one day is one observation.

    Neighbouring granules of an overflight repeat the pixels that they share, which must not count
    twice.

    Args:
        scenes: Scenes of one sensor.
        longitude: Where the sun is asked, in degrees: the middle of the tile.
    """
    ordered = sorted(scenes, key=lambda scene: (scene.datetime, scene.id))
    days = groupby(ordered, key=lambda scene: solar_day(scene, longitude))
    return tuple(tuple(day) for _, day in days)


def one_orbit(scenes: Sequence[Scene], box: BBox, wanted: str) -> tuple[Scene, ...]:
    """Keep one orbit direction per radar sensor, and all optical scenes.

    Backscatter of the two directions differs by slope and structure, so it is never averaged.

    Args:
        scenes: Scenes over a tile.
        box: The tile's box in degrees.
        wanted: `ascending`, `descending`, or `auto` for the one that covers most of the tile, then
            the one with most scenes, then the first by name.
    """
    radar = [scene for scene in scenes if not scene.is_optical]
    chosen = {}
    for sensor in {scene.sensor for scene in radar}:
        mine = [scene for scene in radar if scene.sensor == sensor]
        orbits = {scene.orbit for scene in mine}
        ranked = sorted(orbits, key=lambda orbit: (*_rank(mine, orbit, box), orbit))
        chosen[sensor] = ranked[0] if wanted == "auto" else wanted
    return tuple(s for s in scenes if s.is_optical or s.orbit == chosen[s.sensor])


def _rank(scenes: Sequence[Scene], orbit: str, box: BBox) -> tuple[float, int]:
    mine = [scene for scene in scenes if scene.orbit == orbit]
    return -round(coverage(mine, box), 4), -len(mine)


def coverage(scenes: Sequence[Scene], box: BBox) -> float:
    """Return the share of a box, 0 to 1, that the footprints of scenes cover together."""
    ground = shapely.union_all([shapely.box(*part) for part in box.split()])
    prints = shapely.union_all([scene.outline for scene in scenes])
    covered = shapely.intersection(prints, ground)
    return float(covered.area / ground.area)
