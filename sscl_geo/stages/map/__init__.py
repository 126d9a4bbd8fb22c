"""From a model and a cube to a wall-to-wall map: one unit maps one tile."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import digest
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card
from sscl_geo.io.cubes import Cube
from sscl_geo.io.fields import check_stored_alike
from sscl_geo.io.finishing import begin_map, check_name, finish_map
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation, local_path
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import SOURCES, Plan, read_plan, read_sources
from sscl_geo.io.store import Store
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Machines, Outcome, Stage, tile_units
from sscl_geo.stages.map.inference import Inference
from sscl_geo.stages.map.tile import Job, layer_names, map_unit, unit_bytes

__all__ = ["Inference", "make_map"]

VERSION = 5


def make_map(
    cube: AnyLocation,
    model: Path,
    out: AnyLocation,
    machines: Machines,
    tile_px: int | None = None,
    inference: Inference = Inference(),  # noqa: B008 - a frozen value
) -> Summary:
    """Map a cube, or finish a map that was begun, and write a COG of each zone beside it.

    Args:
        cube: The cube; if it holds several samples of periods, their probabilities are averaged.
        model: Bundle of a finetuned model.
        out: The map's path.
        machines: Where to run; each unit has a GPU to itself if `inference` asks for one.
        tile_px: Side of a tile at 10 m; the cube's if None. It does not change the map.
        inference: How the network is asked.

    Raises:
        InvalidInputError: The bundle cannot map, the cube lacks bands, something else stands at
            `out`, or there are fewer GPUs than workers that need one.
        PlanConflictError: Another command made the store at `out`.
        HolesError: Tiles failed.
    """
    check_name(out)
    inference.check_machines(machines)
    machines = machines.replace(gpus=inference.has_gpu)
    source, bundle = Cube.of_composites(cube), read_card(model)
    legend = _checked_legend(bundle, model)
    network = NetworkSpec.model_validate(bundle.network)
    source.wanted([band.name for band in network.bands], may_lack=network.has_masks)
    check_stored_alike(source, network.bands)
    grids = tuple(
        grid.retiled(grid.tile_px if tile_px is None else tile_px) for grid in source.spec.grids
    )
    extra = layer_names(source, inference)
    plan = _plan(source, bundle, grids, inference)
    layout = map_layout(grids, legend, _attributes(plan), extra)
    store = begin_map(out, plan, layout, source.scenes, grids)
    job = Job(
        cube=source.path.resolve(),
        model=model.resolve(),
        weights_sha256=bundle.weights_sha256,
        temperature=bundle.temperature,
        inference=inference,
        out=store.path.resolve(),
    )
    store.put(SOURCES, job.model_dump_json(include={"cube", "model"}).encode())
    return execute(_stage(job, bundle, legend, grids, store), journal(out), machines, "map")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish a map from what it knows of itself.

    Raises:
        InvalidInputError: It does not say where its cube and model are, or they have gone.
        PlanConflictError: They have changed.
        HolesError: Tiles failed.
    """
    plan = read_plan(out)
    cube, model = read_sources(out, "cube", "model")
    told = {} if plan is None else plan.arguments
    tile_px = None if plan is None else int(str(told["tile_px"]))
    inference = Inference.model_validate(told.get("inference", {}))
    return make_map(
        cube, local_path(str(model), "a model bundle"), out, machines, tile_px, inference
    )


def _stage(
    job: Job, bundle: Bundle, legend: Legend, grids: tuple[Grid, ...], store: Store
) -> Stage:
    return Stage(
        plan=partial(tile_units, grids),
        prepare=store.sweep,
        run=partial(map_unit, job),
        publish=partial(_publish, store, grids, legend),
        memory=partial(unit_bytes, bundle, grids[0].tile_px, job.inference),
    )


def _checked_legend(bundle: Bundle, model: Path) -> Legend:
    if bundle.legend is None:
        raise InvalidInputError(
            f"{model} is an encoder and cannot map; finetune it with `sscl-geo finetune`"
        )
    checked_lattice(bundle.window, bundle.halo)
    return bundle.legend


def _plan(source: Cube, bundle: Bundle, grids: tuple[Grid, ...], inference: Inference) -> Plan:
    return Plan(
        kind="map",
        stage_version=VERSION,
        arguments={
            "cube": source.store.plan.digest,
            "model": bundle.weights_sha256,
            "network": digest(bundle.network),
            "temperature": bundle.temperature,
            "window": bundle.window,
            "halo": bundle.halo,
            "legend": None if bundle.legend is None else bundle.legend.digest,
            "tile_px": grids[0].tile_px,
            "inference": inference.model_dump(mode="json"),
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in grids],
            "legend": None if bundle.legend is None else bundle.legend.model_dump(mode="json"),
            **source.spec.provenance,
            "model": {
                "architecture": NetworkSpec.model_validate(bundle.network).backbone.name,
                "members": bundle.members,
                "weights_sha256": bundle.weights_sha256,
                "package_version": bundle.package_version,
            },
        },
    )


def _attributes(plan: Plan) -> dict[str, JsonValue]:
    return {
        "title": "Land cover",
        "history": f"sscl_geo {plan.package_version}",
        "sensors": plan.content["sensors"],
        "interval": plan.content["interval"],
        "cube_digest": plan.arguments["cube"],
        "model": plan.content["model"],
        "model_temperature": plan.arguments["temperature"],
    }


def _publish(
    store: Store, grids: tuple[Grid, ...], legend: Legend, outcomes: Sequence[Outcome]
) -> None:
    finish_map(store, grids, legend, [outcome.record for outcome in outcomes])
