"""Stores: looked through and mended."""

import importlib
from typing import TYPE_CHECKING

import typer

from sscl_geo.cli.options import MAINTAIN, DaskOption, ExecutorOption, StoreArgument, WorkersOption
from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import Location, location
from sscl_geo.runtime.work import Machines, machines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sscl_geo.runtime.stage import Summary

app = typer.Typer()

MAKERS = {"cube": "ingest", "labels": "labels", "map": "map", "change": "change"}
"""The stage that makes each kind of store; maps have others too."""


@app.command(rich_help_panel=MAINTAIN)
def status(store: StoreArgument) -> None:
    """Show the progress of a cube, labels, a map or a change map, and why units failed."""
    from sscl_geo.stages.upkeep import status as run

    found = run(location(store))
    counted = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print(f"{store}: {found.kind}, {counted}; {found.seconds / 3600:.2f} hours of work")
    for cause, count in found.causes:
        print(f"  {count} x {cause}")
    if found.counts["failed"] or found.counts["waiting"]:
        raise SystemExit(1)


@app.command(rich_help_panel=MAINTAIN)
def verify(store: StoreArgument) -> None:
    """Read a cube, labels, a map or a change map again and compare its checksums."""
    from sscl_geo.stages.upkeep import verify as run

    print(f"{store}: {run(location(store))} arrays of tiles are whole")


@app.command(rich_help_panel=MAINTAIN)
def repair(
    store: StoreArgument,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Make the failed and missing tiles of a store again, and only these."""
    path, machines = location(store), machines_of(executor, workers, dask)
    summary = _maker(path)(path, machines)
    print(f"{store}: {summary.now} units done now, {summary.done} in all, {summary.empty} empty")


def _maker(path: Location) -> "Callable[[Location, Machines], Summary]":
    """Return what finishes a store, by what made it."""
    from sscl_geo.io.plan import articled, read_plan

    plan = read_plan(path)
    if plan is None or plan.kind not in MAKERS:
        found = "not found" if plan is None else f"is {articled(plan.kind)}"
        told = ", ".join(map(articled, MAKERS))
        raise InvalidInputError(f"{path}: {found}; give the path of {told}")
    of_map = {"maps": "combine", "baseline": "baseline"}
    others = [stage for name, stage in of_map.items() if name in plan.arguments]
    stage = importlib.import_module(f"sscl_geo.stages.{[*others, MAKERS[plan.kind]][0]}")
    resume: Callable[[Location, Machines], Summary] = stage.resume
    return resume
