"""One unit of ingest: composite a tile over a period and write its whole shards."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache

from pydantic import JsonValue

from sscl_geo.errors import ReadError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.io.location import Location
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import Signing, signer
from sscl_geo.io.store import Store
from sscl_geo.runtime.work import Evidence
from sscl_geo.stages.ingest.days import Days, SceneDays
from sscl_geo.stages.ingest.grouping import observations
from sscl_geo.stages.ingest.layers import Layers
from sscl_geo.stages.ingest.optical import Recipe, optical, unmasked
from sscl_geo.stages.ingest.radar import radar
from sscl_geo.stages.ingest.request import IngestUnit, Method
from sscl_geo.stages.ingest.view import SceneError


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        out: Where the cube is, for any process.
        spec: Its schema.
        signing: Who signs asset addresses.
        private_hosts: Names of servers whose addresses may be private.
        method: How scenes become a composite.
    """

    out: Location
    spec: CubeSpec
    signing: Signing
    private_hosts: tuple[str, ...] = ()
    method: Method


_signer = lru_cache(maxsize=4)(signer)
"""One signer a process, so that a token serves many units."""


def composite_unit(job: Job, unit: IngestUnit) -> Evidence:
    """Make one tile over one period and tell what it is made of.

    Raises:
        ReadError: More scenes than `max_unreadable` could not be read, or the store's disk lies.
    """
    store = Store.open(job.out, "cube")
    checksums: dict[str, JsonValue] = {}
    unreadable: dict[str, JsonValue] = {}
    with GeoTiffReader(_signer(job.signing, job.private_hosts)) as reader:
        for sensor in job.spec.sensors:
            scenes = [scene for scene in unit.scenes if scene.sensor == sensor.name]
            made = _readable(job, scenes, unreadable, _maker(job, unit, sensor, reader))
            if made is not None:
                checksums |= write_layers(store, sensor, unit, made)
    used = [scene for scene in unit.scenes if scene.id not in unreadable]
    return {
        "empty": not checksums,
        "scenes": [scene.id for scene in used],
        "unreadable": unreadable,
        **_told(used),
        "checksums": checksums,
    }


def _told(used: Sequence[Scene]) -> Evidence:
    optical_scenes = [scene for scene in used if scene.is_optical]
    radar_scenes = [scene for scene in used if not scene.is_optical]
    return {
        "unmasked": [scene.id for scene in optical_scenes if scene.mask_href is None],
        "orbits": [*sorted({scene.orbit for scene in radar_scenes})],
        "relative_orbits": [*sorted({scene.relative_orbit or 0 for scene in radar_scenes})],
    }


Maker = Callable[[Sequence[Scene]], Layers]


def _maker(job: Job, unit: IngestUnit, sensor: Sensor, reader: GeoTiffReader) -> Maker:
    grid, method = job.spec.grid(unit.tile.zone), job.method

    def make(scenes: Sequence[Scene]) -> Layers:
        longitude = unit.box.middle_longitude
        by_day = observations(scenes, longitude)
        days = SceneDays(reader, grid, by_day, longitude, method.swath)
        return layers_of(days, unit, sensor, method, is_daily=job.spec.is_daily)

    return make


def layers_of(
    days: Days, unit: IngestUnit, sensor: Sensor, method: Method, *, is_daily: bool
) -> Layers:
    """Return what a sensor's days become over a unit's tile and period.

    Raises:
        SceneError: A scene could not be read.
    """
    if sensor.kind == "sar":
        return radar(days, unit.window, sensor)
    if is_daily:
        return unmasked(days, unit.window, sensor, method.mask)
    middle = unit.start + (unit.end - unit.start - timedelta(days=1)) / 2
    return optical(days, unit.window, sensor, Recipe(method.compositor, method.mask, middle))


def _readable(
    job: Job, scenes: Sequence[Scene], unreadable: dict[str, JsonValue], make: Maker
) -> Layers | None:
    """Make a composite of the scenes that can be read; None if there are none to read.

    A scene counts as unreadable in all its bands, so that no pixel mixes what was left out.
    """
    left = list(scenes)
    while left:
        try:
            return make(left)
        except SceneError as error:
            if len(unreadable) >= job.method.max_unreadable or len(left) == 1:
                raise ReadError(_refusal(error, unreadable, job)) from None
            unreadable[error.scene] = str(error)
            left = [scene for scene in left if scene.id != error.scene]
    return None


def _refusal(error: SceneError, unreadable: dict[str, JsonValue], job: Job) -> str:
    others = f", after {', '.join(unreadable)}" if unreadable else ""
    again = "" if error.is_permanent else "run the same command again, or "
    return (
        f"{error}{others}; {again}let more than "
        f"{job.method.max_unreadable} scenes be left out, but not all, with --max-unreadable"
    )


def write_layers(store: Store, sensor: Sensor, unit: IngestUnit, made: Layers) -> Evidence:
    """Write a unit's shards of one sensor; return the checksum of each array's content."""
    arrays = {f"{group}/{sensor.array}": data for group, data in made.pixels.items()}
    arrays |= {f"r10m/{name}_{sensor.array}": data for name, data in made.counts.items()}
    arrays |= {f"{group}/mask_{sensor.array}": data for group, data in made.masks.items()}
    return {
        path: store.write(
            f"{unit.tile.zone}/{path}",
            (unit.time,),
            unit.window.at(GROUP_GSD[path.split("/")[0]]),
            data,
        )
        for path, data in arrays.items()
    }
