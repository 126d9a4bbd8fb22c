"""What a user would do without us: a random forest, trained on the same labels.

It learns here and is kept beside the map until all tiles are mapped; one unit maps one tile.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import sklearn
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.errors import ReadError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.geo.legend import Legend
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.finishing import begin_map, check_free, finish_map
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.maps import (
    MARGIN,
    PROBABILITY,
    SECOND,
    layers_of,
    map_layout,
    write_layers,
)
from sscl_geo.io.plan import SOURCES, Plan, asked_of, read_plan, read_sources
from sscl_geo.io.store import Store
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, TileUnit, tile_units
from sscl_geo.stages.baseline.forest import Described, ForestRequest, learned, said

__all__ = ["ForestRequest", "make_baseline"]

VERSION = 6
FOREST = "forest.pickle"

BYTES_PER_CLASS, BYTES_PER_PIXEL = 16, 28
"""Most bytes of a tile's layers and of what they are made of, per pixel."""

FOREST_COPIES = 2
"""A forest, and the bytes that it is made of."""


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        cube: Where the cube is, for any process.
        out: Where the map is, for any process.
        request: What the forest sees.
        forest: SHA-256 of the forest's bytes, which the driver has just written.
    """

    cube: Location
    out: Location
    request: ForestRequest
    forest: str


def make_baseline(
    cube_path: AnyLocation,
    labels_path: AnyLocation,
    out: AnyLocation,
    request: ForestRequest,
    machines: Machines = Machines(),  # noqa: B008 - a frozen value
) -> Summary:
    """Map a cube with a random forest, or finish such a map, and write a COG of each zone.

    A killed command learns the same forest again and maps the tiles that are left.

    Args:
        cube_path: The cube.
        labels_path: Labels on its pixels.
        out: The map's path.
        request: How the forest learns.
        machines: Where to map; the forest learns on this machine, on all its cores.

    Raises:
        InvalidInputError: Cube and labels lie on different grids, nothing is labelled, a label is
            not the legend's, or something else stands at `out` or beside it.
        PlanConflictError: Another command made what stands at `out`.
        HolesError: Tiles failed.
    """
    cube, labels = Cube.of_composites(cube_path), Classes.open(labels_path, "labels")
    labels.check_grids(cube.spec.grids, cube_path)
    plan, described = _plan(cube, labels, request), Described(cube, request)
    is_whole = _is_whole(out, plan, cube)
    # Before there is a store, so that labels that teach nothing leave none.
    forest = b"" if is_whole else pickle.dumps(learned(described, labels).set_params(n_jobs=1))
    size, sha256 = len(forest), hashlib.sha256(forest).hexdigest()
    extra = (SECOND, MARGIN, *([PROBABILITY] if request.has_probabilities else []))
    layout = map_layout(
        cube.spec.grids, labels.legend, {"title": "Land cover by a random forest"}, extra
    )
    store = begin_map(out, plan, layout, cube.scenes, cube.spec.grids)
    sources = {"cube": str(cube.path.resolve()), "labels": str(labels.path.resolve())}
    store.put(SOURCES, json.dumps(sources).encode())
    if not is_whole:
        store.put(FOREST, forest)
    # The workers may need its room.
    del forest
    job = Job(
        cube=cube.path.resolve(),
        out=store.path.resolve(),
        request=request,
        forest=sha256,
    )
    stage = Stage(
        plan=partial(tile_units, cube.spec.grids),
        prepare=store.sweep,
        run=partial(map_unit, job),
        publish=partial(_publish, store, cube, labels.legend),
        memory=partial(_unit_bytes, described, labels.legend, size),
    )
    return execute(stage, journal(out), machines, "baseline")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish a forest's map from what it knows of itself.

    Raises:
        InvalidInputError: It does not say what it is made of, or that has gone.
        PlanConflictError: It has changed.
        HolesError: Tiles failed.
    """
    request = parse(ForestRequest, asked_of(out, ForestRequest), str(out))
    cube, labels = read_sources(out, "cube", "labels")
    return make_baseline(cube, labels, out, request, machines)


def map_unit(job: Job, unit: TileUnit) -> Evidence:
    """Map one tile."""
    cube, store = Cube.open(job.cube), Store.open(job.out, "map")
    legend = store.kept("legend", Legend.model_validate)
    grid, forest = cube.spec.grid(unit.tile.zone), _forest(job.out, job.forest)
    found = said(Described(cube, job.request), forest, legend, grid, unit.window)
    layers = layers_of(found, legend, has_probabilities=job.request.has_probabilities)
    pixels = int(np.count_nonzero(found.is_seen))
    return {
        "empty": pixels == 0,
        "pixels": pixels,
        "checksums": dict(write_layers(store, unit.tile, unit.window, layers)),
    }


@lru_cache(maxsize=1)
def _forest(out: Location, sha256: str) -> RandomForestClassifier:
    """Load a forest once per process.

    Raises:
        ReadError: Its bytes are not those that the driver wrote.
    """
    content = (out / FOREST).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ReadError(f"{out / FOREST} was changed meanwhile; run the same command again")
    return pickle.loads(content)  # noqa: S301 - only bytes whose digest the driver told


def _is_whole(out: AnyLocation, plan: Plan, cube: Cube) -> bool:
    """Whether all tiles are mapped; of a map that is not begun, whether it can be is checked."""
    existing = read_plan(out)
    if existing is None:
        check_free(out, cube.spec.grids)
        return False
    existing.check(plan, out)
    return Ledger(journal(out)).finished >= {unit.key for unit in tile_units(cube.spec.grids)}


def _plan(cube: Cube, labels: Classes, request: ForestRequest) -> Plan:
    return Plan(
        kind="map",
        stage_version=VERSION,
        arguments={
            "cube": cube.store.plan.digest,
            "labels": labels.store.plan.digest,
            "baseline": "random forest",
            "scikit_learn": sklearn.__version__,
            **request.model_dump(mode="json"),
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in cube.spec.grids],
            "legend": labels.legend.model_dump(mode="json"),
            **cube.spec.provenance,
        },
    )


def _unit_bytes(described: Described, legend: Legend, forest: int) -> int:
    tile_px = described.cube.spec.grids[0].tile_px
    per_pixel = BYTES_PER_CLASS * len(legend.classes) + BYTES_PER_PIXEL
    return FOREST_COPIES * forest + described.strip_bytes(tile_px) + per_pixel * tile_px**2


def _publish(store: Store, cube: Cube, legend: Legend, outcomes: Sequence[Outcome]) -> None:
    finish_map(store, cube.spec.grids, legend, [outcome.record for outcome in outcomes])
    (store.path / FOREST).delete()
