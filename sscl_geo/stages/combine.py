"""Several maps of one cube as one: at each pixel the mean of their probabilities (soft voting)."""

from collections.abc import Sequence
from functools import partial

from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.cubes import Classes
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import (
    MARGIN,
    PROBABILITY,
    SECOND,
    finish_levels,
    layer_path,
    layers_of,
    level_name,
    levels,
    map_layout,
    write_coverage,
    write_layers,
)
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES, TILES, records_table
from sscl_geo.ops.blending import mean_of

VERSION = 1


def combine(maps: Sequence[AnyLocation], out: AnyLocation) -> None:
    """Write the mean of maps, which may come of networks, ensembles and forests.

    Tiles are those of the first map. Nothing stands at `out` unless it is whole.

    Args:
        maps: Two maps or more of one cube with one legend, which keep probabilities.
        out: The new map.

    Raises:
        InvalidInputError: There are fewer than two maps, one is given twice or keeps no
            probabilities, cubes or legends differ, or `out` is something else.
        PlanConflictError: Another command made what stands at `out`.
    """
    opened = [Classes.open(path, "map") for path in maps]
    _check(opened)
    first = opened[0]
    digests = [one.store.plan.digest for one in opened]
    content = {k: v for k, v in first.store.plan.content.items() if k != "model"}
    plan = Plan(
        kind="map",
        stage_version=VERSION,
        arguments={"cube": first.store.plan.arguments["cube"], "maps": [*digests]},
        content=content,
    )
    existing = read_plan(out)
    if existing is not None:
        existing.check(plan, out)
        return
    layout = map_layout(
        first.grids,
        first.legend,
        {"title": "Land cover, the mean of several maps"},
        (SECOND, MARGIN, PROBABILITY),
    )
    keys = [tile.key for grid in first.grids for tile in grid.tiles]
    tiles: list[dict[str, JsonValue]] = [{"key": key, "status": "done"} for key in keys]
    tables = {TILES: records_table(tiles)}
    scenes = first.path / SCENES
    if scenes.exists():
        tables[SCENES] = scenes.read_bytes()
    Store.create(out, plan, layout, tables, partial(_fill, opened))


def _check(maps: Sequence[Classes]) -> None:
    if len(maps) < 2 or len({one.store.plan.digest for one in maps}) < len(maps):  # noqa: PLR2004
        raise InvalidInputError("--map: give two maps or more, each once")
    first = maps[0]
    for one in maps:
        if PROBABILITY not in one.store.names(f"{one.grids[0].zone}/{level_name(1)}"):
            raise InvalidInputError(
                f"--map {one.path}: keeps no probabilities; map again with --probabilities"
            )
        if one.store.plan.arguments.get("cube") != first.store.plan.arguments.get("cube"):
            raise InvalidInputError(
                f"--map {one.path}: was not made of the cube of {first.path}; give maps of one cube"
            )
        if one.legend != first.legend:
            raise InvalidInputError(
                f"--map {one.path} has another legend than {first.path}; make both with one"
            )


def _fill(maps: Sequence[Classes], store: Store) -> None:
    legend = maps[0].legend
    for grid in maps[0].grids:
        path, states = layer_path(grid.zone, PROBABILITY), {}
        for tile in grid.tiles:
            window = grid.window(tile)
            told = [one.store.read(path, (), window) for one in maps]
            found = mean_of(told, FULL_CONFIDENCE, NO_CONFIDENCE)
            layers = layers_of(found, legend)
            layers[PROBABILITY] = levels(found.shares, found.is_seen)
            write_layers(store, tile, window, layers)
            states[tile.key] = "done" if found.is_seen.any() else "empty"
        finish_levels(store, grid)
        write_coverage(store, grid, states)
