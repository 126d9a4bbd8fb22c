"""From a cube of days to composites: another mask, period or compositor without a download."""

import json
from collections.abc import Sequence
from datetime import date
from functools import partial

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.period import parse_interval
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.cubes import Cube
from sscl_geo.io.journal import journal
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.plan import SOURCES, Plan, request_of
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.ops.compositors import compositor_of
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage
from sscl_geo.stages.ingest.composite import layers_of, write_layers
from sscl_geo.stages.ingest.days import CubeDays
from sscl_geo.stages.ingest.estimate import unit_bytes
from sscl_geo.stages.ingest.periods import periods_of
from sscl_geo.stages.ingest.plan import units
from sscl_geo.stages.ingest.request import DAILY, TOLERANCE, IngestUnit, Method

VERSION = 2


class CompositeRequest(Frozen):
    """What is made of a cube of days.

    Attributes:
        cube: The cube of days.
        period: ISO 8601 duration of a composite.
        method: How days become composites; its orbit and swath have been settled by the cube.
    """

    cube: Location
    period: str
    method: Method = Method()


class _Job(Frozen):
    """What all units of a run share."""

    days: Location
    out: Location
    spec: CubeSpec
    method: Method


def composite_days(request: CompositeRequest, out: AnyLocation, machines: Machines) -> Summary:
    """Make a cube of composites of a cube of days, or finish one that was begun.

    They are those of an ingest of the same scenes, bit for bit (radar to a hundredth of a dB), but
    for a margin along the cube's border: clouds beyond it are not known, so they hide nothing.

    Raises:
        InvalidInputError: The cube does not keep days, or something else stands at `out`.
        PlanConflictError: Another command made the store at `out`.
        HolesError: Units failed.
    """
    days = Cube.open(request.cube)
    if not days.spec.is_daily:
        raise InvalidInputError(
            f"{request.cube} holds composites, whose days are gone; ingest it with --period {DAILY}"
        )
    compositor_of(request.method.compositor)
    whole = parse_interval(str(days.store.plan.arguments["datetime"]))
    periods = periods_of(whole, request.period)
    spec = days.spec.replace(periods=periods, is_daily=False)
    store = _store(out, _plan(request, days, spec), spec, days)
    # Every task carries the job, so it leaves out the list of tiles.
    light = spec.replace(grids=tuple(grid.replace(kept=None) for grid in spec.grids))
    job = _Job(
        days=days.path.resolve(), out=store.path.resolve(), spec=light, method=request.method
    )
    planned = units(spec, (), request.method.orbit)

    def count(unit: IngestUnit, _: Sensor) -> int:
        return len(_days_within(days.spec, unit))

    stage = Stage(
        plan=lambda: planned,
        prepare=store.sweep,
        run=partial(_composite_unit, job),
        publish=partial(_publish, store),
        memory=partial(unit_bytes, spec, planned, request.method, count),
    )
    return execute(stage, journal(out), machines, "composite")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish composites from what they know of themselves.

    Raises:
        InvalidInputError: They do not say what they are made of, or it has gone.
        PlanConflictError: It has changed.
        HolesError: Units failed.
    """
    return composite_days(request_of(out, CompositeRequest), out, machines)


def _plan(request: CompositeRequest, days: Cube, spec: CubeSpec) -> Plan:
    source = days.store.plan
    return Plan(
        kind="cube",
        stage_version=VERSION,
        arguments={
            **request.model_dump(mode="json", exclude={"cube": True, **TOLERANCE}),
            "cube": source.digest,
            "source": source.arguments["source"],
            "area": source.arguments["area"],
        },
        content={
            "spec": spec.model_dump(mode="json"),
            "refused": source.content.get("refused", {}),
        },
    )


def _store(out: AnyLocation, plan: Plan, spec: CubeSpec, days: Cube) -> Store:
    terms = days.store.attributes.get("license", "")
    layout = cube_layout(spec, {"title": "Composites", "license": terms})
    store = Store.begun(out, plan, layout, days.scenes)
    store.put(SOURCES, json.dumps({"cube": str(days.path.resolve())}).encode())
    return store


def _days_within(days: CubeSpec, unit: IngestUnit) -> list[tuple[int, date]]:
    return [
        (index, day.start)
        for index, day in enumerate(days.periods)
        if unit.start <= day.start < unit.end
    ]


def _composite_unit(job: _Job, unit: IngestUnit) -> Evidence:
    cube, store = Cube.open(job.days), Store.open(job.out, "cube")
    checksums: Evidence = {}
    for sensor in job.spec.sensors:
        days = _seen_days(cube, unit, sensor)
        if days.days:
            made = layers_of(days, unit, sensor, job.method, is_daily=False)
            checksums |= write_layers(store, sensor, unit, made)
    return {"empty": not checksums, "checksums": checksums}


def _seen_days(cube: Cube, unit: IngestUnit, sensor: Sensor) -> CubeDays:
    """Return the days of a unit on which the sensor has an observation in its tile."""
    path = f"{unit.tile.zone}/r10m/{sensor.array}"
    seen = [
        (index, day)
        for index, day in _days_within(cube.spec, unit)
        if (cube.store.read(path, (index,), unit.window) != sensor.nodata).any()
    ]
    return CubeDays(cube.store, unit.tile.zone, sensor, seen)


def _publish(store: Store, outcomes: Sequence[Outcome]) -> None:
    store.put(TILES, records_table([outcome.record for outcome in outcomes]))
