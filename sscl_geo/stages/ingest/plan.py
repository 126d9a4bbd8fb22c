"""What a cube will be made of: the request, the frozen search, and the units."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import Field

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError, NoSceneError, PlanConflictError
from sscl_geo.frozen import Frozen, digest
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.boxes import Boxes
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Tile
from sscl_geo.geo.ground import tile_bbox
from sscl_geo.geo.period import Period, parse_interval
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Sensor
from sscl_geo.geo.surface import METRES_PER_DEGREE
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.catalog import Found, query, search
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.profile import Source
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES, SearchRecord, read_scenes, scenes_table
from sscl_geo.io.trust import redacted
from sscl_geo.ops.compositors import compositor_of
from sscl_geo.sensors import sensor_of
from sscl_geo.stages.ingest.grouping import one_orbit, solar_day, solar_days
from sscl_geo.stages.ingest.periods import periods_of
from sscl_geo.stages.ingest.request import DAILY, TOLERANCE, IngestRequest, IngestUnit

VERSION = 4
SENSORS = "sscl_geo.sensors"
SHOWN_REFUSALS = 5
MARGIN_M = 2000
"""Metres beyond a tile from which masks and weights of its pixels may come."""

_log = logging.getLogger(__name__)


class Kept(Frozen):
    """What was derived once from a request and is kept in the store.

    Attributes:
        spec: The cube's schema.
        scenes_digest: Digest of the frozen search.
        refused: Number of items left out, by sensor.
    """

    spec: CubeSpec
    scenes_digest: str
    refused: dict[str, int] = Field(default_factory=dict)


def reopen(request: IngestRequest, out: AnyLocation) -> Store | None:
    """Return the cube that the same request began at a path; None where nothing stands.

    Raises:
        InvalidInputError: Something else stands there.
        PlanConflictError: Another request made the store, or its search was changed since.
    """
    plan = read_plan(out)
    if plan is None:
        return None
    plan.check(_plan(request), out)
    table = location(out) / SCENES
    if plan.content.get("scenes_digest") != _digest(read_scenes(table.read_bytes())):
        raise PlanConflictError(
            f"{table} is not the search that made this cube; restore it, or choose another --out"
        )
    return Store(out, plan)


def create(request: IngestRequest, out: AnyLocation) -> Store:
    """Search the catalogue, freeze what it found, and make an empty cube for it.

    Raises:
        InvalidInputError: The request breaks a rule.
        CatalogError: The catalogue cannot be searched.
        NoSceneError: A sensor has no scene.
    """
    kept, scenes = derived(request)
    plan = _plan(request).replace(content=kept.model_dump(mode="json"))
    attributes = {"title": "Sentinel-1/2 composites", "license": request.source.profile.license}
    layout = cube_layout(kept.spec, attributes)
    record = _record(request, kept.spec.sensors)
    return Store.create(out, plan, layout, {SCENES: scenes_table(scenes, record)})


def derived(request: IngestRequest) -> tuple[Kept, tuple[Scene, ...]]:
    """Search the catalogue; return the schema of the cube and its scenes.

    Raises:
        InvalidInputError: The request breaks a rule.
        CatalogError: The catalogue cannot be searched.
        NoSceneError: A sensor has no scene.
    """
    interval = parse_interval(request.datetime)
    is_daily = request.period == DAILY
    periods = () if is_daily else periods_of(interval, request.period)
    grids = grids_of(request.area, request.grid, request.tile_px)
    compositor_of(request.method.compositor)
    # Of a region, which its box holds many times over, most scenes may lie over no tile.
    tiles = Boxes([_around(tile_bbox(grid, tile)) for grid in grids for tile in grid.tiles])
    sensors = _sensors(request)
    found = {
        sensor.name: search(
            request.source,
            sensor,
            request.area.bbox,
            padded(interval),
            is_wanted=partial(_is_wanted, tiles, request.max_cloud),
            ask_pixels=request.ask_pixels,
        )
        for sensor in sensors
    }
    found = {name: of_days(part, interval) for name, part in found.items()}
    _check_found(found, request)
    scenes = tuple(scene for part in found.values() for scene in part.scenes)
    if is_daily:
        days = solar_days(scenes, request.area.bbox)
        periods = tuple(day for day in days if interval.start <= day.start < interval.end)
    kept = Kept(
        spec=CubeSpec(grids=grids, periods=periods, sensors=tuple(sensors), is_daily=is_daily),
        scenes_digest=_digest(scenes),
        refused={name: len(part.refusals) for name, part in found.items()},
    )
    return kept, scenes


def units(spec: CubeSpec, scenes: tuple[Scene, ...], orbit: str) -> tuple[IngestUnit, ...]:
    """Return one unit per tile and period, in a fixed order."""
    boxes = Boxes([scene.bbox for scene in scenes])
    return tuple(
        unit
        for grid in spec.grids
        for tile in grid.tiles
        for over in [boxes.meeting(_around(tile_bbox(grid, tile)))]
        for unit in _tile_units(spec, tile, tuple(scenes[number] for number in over), orbit)
    )


def _around(box: BBox) -> BBox:
    """Return a box with a margin in which clouds still decide on its pixels."""
    up = MARGIN_M / METRES_PER_DEGREE
    across = up / max(math.cos(math.radians(max(abs(box.south), abs(box.north)))), 0.01)
    return box.widened(across, up)


def _is_wanted(tiles: Boxes, max_cloud: float, scene: Scene) -> bool:
    """Whether a scene lies over a tile and is not too cloudy, as far as its catalogue tells."""
    return (scene.cloud_cover or 0) <= max_cloud and bool(tiles.meeting(scene.bbox).size)


def _sensors(request: IngestRequest) -> list[Sensor]:
    """Return the sensors wanted, or all that the catalogue has."""
    repeated = [name for name, count in Counter(request.sensors).items() if count > 1]
    if repeated:
        raise InvalidInputError(f"--sensors {repeated[0]}: is named twice; name it once")
    names = request.sensors or tuple(request.source.profile.sensors)
    return [_sensor(name, request.source) for name in names]


def _sensor(name: str, source: Source) -> Sensor:
    """Return a sensor with those of its bands that the catalogue has."""
    if name not in plugins.names(SENSORS):
        known = ", ".join(source.profile.sensors)
        raise InvalidInputError(f"--sensors {name}: no such sensor; the catalogue has {known}")
    sensor = sensor_of(name)
    place = source.profile.sensors.get(name)
    if place is None:
        return sensor
    return sensor.replace(bands=tuple(band for band in sensor.bands if band.name in place.assets))


def _tile_units(
    spec: CubeSpec, tile: Tile, over: tuple[Scene, ...], orbit: str
) -> Iterator[IngestUnit]:
    grid = spec.grid(tile.zone)
    box = tile_bbox(grid, tile)
    scenes = one_orbit(over, box, orbit)
    for index, period in enumerate(spec.periods):
        yield IngestUnit(
            tile=tile,
            window=grid.window(tile),
            time=index,
            start=period.start,
            end=period.end,
            box=box,
            scenes=tuple(s for s in scenes if _is_within(s, period, box)),
        )


def _is_within(scene: Scene, period: Period, box: BBox) -> bool:
    return period.start <= solar_day(scene, box.middle_longitude) < period.end


def _has_day_within(scene: Scene, interval: Period) -> bool:
    edges = (edge for part in scene.bbox.split() for edge in (part.west, part.east))
    return any(interval.start <= solar_day(scene, edge) < interval.end for edge in edges)


def padded(interval: Period) -> Period:
    """Return an interval with a day more on both sides: solar days begin and end elsewhere."""
    day = timedelta(days=1)
    return Period(start=interval.start - day, end=interval.end + day)


def _record(request: IngestRequest, sensors: tuple[Sensor, ...]) -> SearchRecord:
    source, interval = request.source, parse_interval(request.datetime)
    places = [source.profile.sensors[sensor.name] for sensor in sensors]
    boxes = (request.area.bbox,)
    days = padded(interval)
    asked = [query(source, place.collections, boxes, days).digest for place in places]
    return SearchRecord(
        catalog=redacted(source.address), query=digest(asked), asked=datetime.now(UTC)
    )


def _plan(request: IngestRequest) -> Plan:
    arguments = request.model_dump(mode="json", exclude=TOLERANCE)
    return Plan(kind="cube", stage_version=VERSION, arguments=arguments)


def _digest(scenes: tuple[Scene, ...]) -> str:
    return digest([scene.model_dump(mode="json") for scene in scenes])


def of_days(found: Found, interval: Period) -> Found:
    """Keep the scenes that are, somewhere, of a solar day within an interval."""
    kept = (s for s in found.scenes if _has_day_within(s, interval))
    return found._replace(scenes=tuple(kept))


def _check_orbit(found: Mapping[str, Found], orbit: str) -> None:
    for name, part in found.items():
        orbits = Counter(scene.orbit for scene in part.scenes if not scene.is_optical)
        if orbit != "auto" and orbits and orbit not in orbits:
            counts = ", ".join(f"{count} {there}" for there, count in orbits.items())
            raise NoSceneError(f"--orbit {orbit}: {name} has none, but {counts}; name another")


def _check_found(found: dict[str, Found], request: IngestRequest) -> None:
    for name, part in found.items():
        _warn(name, part)
    if not all(part.scenes for part in found.values()):
        counts = "; ".join(_told(name, part, request.source) for name, part in found.items())
        raise NoSceneError(
            f"too few scenes within the area and --datetime {request.datetime}: {counts}; "
            "widen --datetime, --bbox or --max-cloud, or name the sensors to use with --sensors"
        )
    _check_orbit(found, request.method.orbit)


def _told(name: str, part: Found, source: Source) -> str:
    place = source.profile.sensors.get(name)
    if place is None:
        return f"{name}: not in this catalogue"
    told = f"{name} ({'+'.join(place.collections)}): {len(part.scenes)}"
    if part.refusals:
        first = part.refusals[0]
        told += f" and {len(part.refusals)} refused, such as {first.item}: {first.cause}"
    return told


def _warn(name: str, part: Found) -> None:
    for refusal in part.refusals[:SHOWN_REFUSALS]:
        _log.warning("%s: left out %s: %s", name, refusal.item, refusal.cause)
    if len(part.refusals) > SHOWN_REFUSALS:
        causes = "; ".join(f"{count} x {cause}" for cause, count in part.causes.items())
        _log.warning("%s: left out %d items: %s", name, len(part.refusals), causes)
    optical = [scene for scene in part.scenes if scene.is_optical]
    bare = sum(scene.mask_href is None for scene in optical)
    if bare:
        _log.warning(
            "%s: %d of %d scenes have no Scene Classification Layer; clouds in them stay",
            name,
            bare,
            len(optical),
        )
