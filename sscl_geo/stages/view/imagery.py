"""The imagery beneath a map: periods of a cube, in natural colours or by radar."""

from collections.abc import Iterator
from typing import NamedTuple

from sscl_geo.errors import InvalidInputError, SsclGeoError, brief
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.io.cubes import Cube
from sscl_geo.io.location import Location
from sscl_geo.io.plan import Plan, read_sources
from sscl_geo.io.views import View


class Imagery(NamedTuple):
    """One period of a cube in natural colours, or of its radar."""

    name: str
    period: str
    sensor: Sensor
    view: View


def own_cube(place: Location, plan: Plan) -> tuple[Cube | None, str]:
    """Return the cube that a map is made of, or why it cannot be shown.

    Args:
        place: The map's path.
        plan: The map's plan.
    """
    try:
        cube = Cube.open(_named(place))
    except (SsclGeoError, OSError) as error:
        return None, f"no imagery: {brief(error)}; or name a cube with --cube"
    if cube.store.plan.digest != plan.arguments.get("cube"):
        return None, f"no imagery: {cube.path} has changed since the map was made of it"
    return cube, ""


def _named(place: Location) -> Location:
    """Return where a map says that its cube is.

    Raises:
        InvalidInputError: In a bucket that is not the map's own: a map may come from strangers, and
            a request would carry credentials there.
    """
    (named,) = read_sources(place, "cube")
    if named.root not in ("", place.root):
        raise InvalidInputError(
            f"{named} is in a bucket that is not the map's; name it with --cube"
        )
    return named


def imagery_of(cube: Cube) -> Iterator[Imagery]:
    """Yield what can be pictured of a cube: each period of each sensor with fitting bands."""
    grids = cube.spec.grids
    for sensor in cube.spec.sensors:
        kind, group, bands = _bands(sensor)
        if not bands:
            continue
        levels = {grid.zone: (GROUP_GSD[group],) for grid in grids}
        for time, period in enumerate(cube.spec.periods):
            view = View(
                cube.store, grids, levels, sensor.array, sensor.nodata, lead=(time,), bands=bands
            )
            yield Imagery(kind, period.name, sensor, view)


def _bands(sensor: Sensor) -> tuple[str, str, tuple[int, ...]]:
    """Return what a sensor's picture is called, its group, and its bands' positions there."""
    for group, bands in sensor.groups.items():
        commons, names = ([b.common_name for b in bands], [b.name for b in bands])
        if {"red", "green", "blue"} <= {*commons}:
            return "True colour", group, tuple(map(commons.index, ("red", "green", "blue")))
        if "VV" in names:
            return "Radar VV", group, (names.index("VV"),)
    return "", "", ()
