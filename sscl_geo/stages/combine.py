"""Several maps of one cube as one: at each pixel the mean of their probabilities (soft voting)."""

import json
from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.cubes import Classes
from sscl_geo.io.finishing import begin_map, finish_map
from sscl_geo.io.journal import journal
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.maps import (
    MARGIN,
    PROBABILITY,
    SECOND,
    layer_path,
    layers_of,
    level_name,
    map_layout,
    write_layers,
)
from sscl_geo.io.plan import SOURCES, Plan, read_sources, sources_of
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES
from sscl_geo.ops.blending import mean_of
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, TileUnit, tile_units

VERSION = 2
DIGITS = 16
"""Digits of a map's digest that tell it apart."""

BYTES_PER_CLASS = 12
"""Most bytes that a unit holds for a pixel and class, beside one for each map."""

BYTES_PER_PIXEL = 32


class Job(Frozen):
    """What all units of a run share: where the maps and their mean are, for any process."""

    maps: tuple[Location, ...]
    out: Location


def combine(maps: Sequence[AnyLocation], out: AnyLocation, machines: Machines) -> Summary:
    """Write the mean of maps, of networks, ensembles and forests, or finish one that was begun.

    Tiles are those of the first map; beside the store a COG of each zone is written. A map that is
    a mean itself counts as one.

    Args:
        maps: Two maps or more of one cube with one legend, which keep probabilities.
        out: The new map.
        machines: Where to run.

    Raises:
        InvalidInputError: There are fewer than two maps, one is given twice or keeps no
            probabilities, cubes or classes differ, or something else stands at `out` or beside it.
        PlanConflictError: Another command made the store at `out`.
        HolesError: Tiles failed.
    """
    opened = [Classes.open(path, "map") for path in maps]
    _check(opened)
    first = opened[0]
    store = _store(out, _plan(opened), first)
    job = Job(maps=tuple(one.path.resolve() for one in opened), out=store.path.resolve())
    store.put(SOURCES, json.dumps(_sources(opened)).encode())
    stage = Stage(
        plan=partial(tile_units, first.grids),
        prepare=store.sweep,
        run=partial(combine_unit, job),
        publish=partial(_publish, store, first.grids, first.legend),
        memory=partial(_unit_bytes, first, len(opened)),
    )
    return execute(stage, journal(out), machines, "combine")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish a mean of maps from what it knows of itself.

    Raises:
        InvalidInputError: It does not say where its maps are, or they have gone.
        PlanConflictError: They have changed.
        HolesError: Tiles failed.
    """
    told = sources_of(out).get("maps")
    maps = told if isinstance(told, list) else []
    return combine([location(str(path)) for path in maps], out, machines)


def combine_unit(job: Job, unit: TileUnit) -> Evidence:
    """Write the mean of one tile."""
    maps, store = [Classes.open(path, "map") for path in job.maps], Store.open(job.out, "map")
    path = layer_path(unit.tile.zone, PROBABILITY)
    stored = [one.store.read(path, (), unit.window) for one in maps]
    found = mean_of(stored, FULL_CONFIDENCE, NO_CONFIDENCE)
    layers = layers_of(found, maps[0].legend, has_probabilities=True)
    pixels = int(np.count_nonzero(found.is_seen))
    return {
        "empty": pixels == 0,
        "pixels": pixels,
        "checksums": dict(write_layers(store, unit.tile, unit.window, layers)),
    }


def _unit_bytes(first: Classes, maps: int) -> int:
    per_pixel = (BYTES_PER_CLASS + maps) * len(first.legend.classes) + BYTES_PER_PIXEL
    return per_pixel * first.grids[0].tile_px ** 2


def _check(maps: Sequence[Classes]) -> None:
    if len(maps) < 2 or len({one.store.plan.digest for one in maps}) < len(maps):  # noqa: PLR2004
        raise InvalidInputError("--map: give two maps or more, each once")
    first = maps[0]
    for one in maps:
        if one.store.plan.arguments["cube"] != first.store.plan.arguments["cube"]:
            raise InvalidInputError(
                f"--map {one.path}: was not made of the cube of {first.path}; give maps of one cube"
            )
        if not one.legend.is_like(first.legend):
            raise InvalidInputError(
                f"--map {one.path}: its classes are {', '.join(one.legend.names)}, and those of "
                f"{first.path} {', '.join(first.legend.names)}; make both with one legend"
            )
        if PROBABILITY not in one.store.names(f"{one.grids[0].zone}/{level_name(1)}"):
            raise InvalidInputError(
                f"--map {one.path}: keeps no probabilities; map again, to another --out, with "
                "--probabilities"
            )


def _plan(maps: Sequence[Classes]) -> Plan:
    plan = maps[0].store.plan
    digests: list[JsonValue] = [one.store.plan.digest[:DIGITS] for one in maps]
    content = {key: value for key, value in plan.content.items() if key not in {"model", "maps"}}
    return Plan(
        kind="map",
        stage_version=VERSION,
        arguments={"cube": plan.arguments["cube"], "maps": digests},
        content={**content, "maps": [_maker(one) for one in maps]},
    )


def _maker(one: Classes) -> JsonValue:
    """Return what a map says of its model, forest or maps."""
    plan = one.store.plan
    told = plan.content.get("model") or plan.content.get("maps")
    return told or {key: value for key, value in plan.arguments.items() if key != "cube"}


def _sources(maps: Sequence[Classes]) -> dict[str, JsonValue]:
    """Return where the maps are and, if the first knows, their cube."""
    told: dict[str, JsonValue] = {"maps": [str(one.path.resolve()) for one in maps]}
    try:
        (cube,) = read_sources(maps[0].path, "cube")
    except InvalidInputError:
        return told
    return {"cube": str(cube), **told}


def _store(out: AnyLocation, plan: Plan, first: Classes) -> Store:
    attributes = {"title": "Land cover, the mean of several maps", "maps": plan.content["maps"]}
    layout = map_layout(first.grids, first.legend, attributes, (SECOND, MARGIN, PROBABILITY))
    scenes = first.path / SCENES
    tables = {SCENES: scenes.read_bytes()} if scenes.exists() else {}
    return begin_map(out, plan, layout, tables, first.grids)


def _publish(
    store: Store, grids: tuple[Grid, ...], legend: Legend, outcomes: Sequence[Outcome]
) -> None:
    finish_map(store, grids, legend, [outcome.record for outcome in outcomes])
