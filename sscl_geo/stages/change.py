"""From two maps of one model to what changed between them: one unit compares one tile."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import UInt16
from pydantic import JsonValue

from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.areas import own_hectares
from sscl_geo.io.changes import CHANGE, change_layout, pairs, publish_change
from sscl_geo.io.comparable import check_comparable
from sscl_geo.io.cubes import Classes
from sscl_geo.io.finishing import begin_map, finishing
from sscl_geo.io.journal import journal
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.maps import CONFIDENCE, layer_path, level_name
from sscl_geo.io.plan import SOURCES, Plan, read_sources
from sscl_geo.io.publish.cog import cog_path, cog_paths
from sscl_geo.io.records import Record, table_csv
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.ops.change import FROM, change_codes, joint_levels
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, TileUnit, tile_units

VERSION = 1
BYTES_PER_PIXEL = 48
"""Most bytes that a unit holds for a pixel: four layers, two results, areas, and what they are
made of."""

BIASED = "counted pixels, biased by the errors of both maps"


class Job(Frozen):
    """What all units of a run share: where the maps and the change are, for any process."""

    before: Location
    after: Location
    out: Location


def make_change(
    before: AnyLocation, after: AnyLocation, out: AnyLocation, machines: Machines
) -> Summary:
    """Compare two maps, or finish a comparison that was begun.

    Beside the store a COG of each zone, and a CSV of hectares by class before and after, are
    written. Tiles are those of the map before.

    Raises:
        InvalidInputError: The maps are not of one model or not on one grid, are the same map, or
            something else stands at `out` or beside it.
        PlanConflictError: Another command made the store at `out`.
        HolesError: Tiles failed.
    """
    old, new = Classes.open(before, "map"), Classes.open(after, "map")
    check_comparable(old, new)
    store = _store(out, _plan(old, new), old.grids, old.legend)
    job = Job(before=old.path.resolve(), after=new.path.resolve(), out=store.path.resolve())
    store.put(SOURCES, job.model_dump_json(include={"before", "after"}).encode())
    stage = Stage(
        plan=partial(tile_units, old.grids),
        prepare=store.sweep,
        run=partial(change_unit, job),
        publish=partial(_publish, store, old.grids, old.legend),
        memory=partial(_unit_bytes, old.grids),
    )
    return execute(stage, journal(out), machines, "change")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish a comparison from what it knows of itself.

    Raises:
        InvalidInputError: It does not say where its maps are, or they have gone.
        PlanConflictError: They have changed.
        HolesError: Tiles failed.
    """
    before, after = read_sources(out, "before", "after")
    return make_change(before, after, out, machines)


def change_unit(job: Job, unit: TileUnit) -> Evidence:
    """Compare one tile."""
    before, after = Classes.open(job.before, "map"), Classes.open(job.after, "map")
    store, zone, window = Store.open(job.out, "change"), unit.tile.zone, unit.window
    codes = change_codes(before.read(zone, window), after.read(zone, window))
    path = layer_path(zone, CONFIDENCE)
    sure = joint_levels(
        before.store.read(path, (), window),
        after.store.read(path, (), window),
        FULL_CONFIDENCE,
        NO_CONFIDENCE,
    )
    sure[codes == UNLABELLED] = NO_CONFIDENCE
    pixels = int(np.count_nonzero(codes))
    return {
        "empty": pixels == 0,
        "pixels": pixels,
        "hectares": _hectares(before.grid(zone), window, codes),
        "checksums": {
            f"{level_name(1)}/{name}": store.write(layer_path(zone, name), (), window, layer)
            for name, layer in ((CHANGE, codes), (CONFIDENCE, sure))
        },
    }


def _hectares(grid: Grid, window: Window, codes: UInt16[np.ndarray, "y x"]) -> JsonValue:
    """Return the area of each change that occurs, by its code."""
    sums = np.bincount(codes.ravel(), own_hectares(grid, window).ravel())
    return {str(code): round(float(sums[code]), 6) for code in np.flatnonzero(sums)}


def _unit_bytes(grids: tuple[Grid, ...]) -> int:
    return BYTES_PER_PIXEL * grids[0].tile_px ** 2


def _plan(before: Classes, after: Classes) -> Plan:
    return Plan(
        kind="change",
        stage_version=VERSION,
        arguments={"before": before.store.plan.digest, "after": after.store.plan.digest},
        content={
            "grids": [grid.model_dump(mode="json") for grid in before.grids],
            "legend": before.legend.model_dump(mode="json"),
        },
    )


def _store(out: AnyLocation, plan: Plan, grids: tuple[Grid, ...], legend: Legend) -> Store:
    attributes = {"title": "Change of land cover", **plan.arguments}
    layout = change_layout(grids, legend, attributes)
    return begin_map(out, plan, layout, {}, grids, (table_path(out),))


def _publish(
    store: Store, grids: tuple[Grid, ...], legend: Legend, outcomes: Sequence[Outcome]
) -> None:
    table = table_path(store.path)
    with finishing(store, (*cog_paths(store.path, grids), table)):
        for grid in grids:
            publish_change(cog_path(store.path, grid, grids), store, grid, legend)
        table.put_whole(table_csv(list(_rows(legend, outcomes)), BIASED))
    store.put(TILES, records_table([outcome.record for outcome in outcomes]))


def _rows(legend: Legend, outcomes: Sequence[Outcome]) -> Iterator[Record]:
    """Yield the hectares of each pair of classes, then those where either map has none."""
    total: dict[int, float] = {}
    for outcome in outcomes:
        told = outcome.evidence["hectares"]
        for code, hectares in told.items() if isinstance(told, dict) else ():
            total[int(code)] = total.get(int(code), 0.0) + float(str(hectares))
    named = [
        *((one.value, one.name, two.value, two.name) for one, two in pairs(legend)),
        (UNLABELLED, "unmapped", UNLABELLED, "unmapped"),
    ]
    for before, name, after, new_name in named:
        yield {
            "from_value": before,
            "from": name,
            "to_value": after,
            "to": new_name,
            "counted_ha": round(total.get(FROM * before + after, 0.0), 4),
        }


def table_path(out: AnyLocation) -> Location:
    """Return the path of the hectares: beside the store."""
    return location(out).with_name(f"{out.stem}.csv")
