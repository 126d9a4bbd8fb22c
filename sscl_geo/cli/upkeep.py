"""Stores: planned, looked through and mended."""

from typing import TYPE_CHECKING

import typer

from sscl_geo.cli.options import DaskOption, ExecutorOption, StoreArgument, WorkersOption
from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import Location, location
from sscl_geo.runtime.work import Machines, machines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sscl_geo.runtime.stage import Summary

app = typer.Typer()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def plan(context: typer.Context) -> None:
    """Tell what an ingest would read, write, take and cost; options as of sscl_geo.ingest."""
    from sscl_geo.ingest import app as ingest_app

    ingest_app(["--plan", *context.args])


@app.command()
def status(store: StoreArgument) -> None:
    """Tell how far a cube, labels, a map or a change are, and why units failed."""
    from sscl_geo.stages.upkeep import status as run

    found = run(location(store))
    counted = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print(f"{store}: {found.kind}, {counted}; {found.seconds / 3600:.2f} hours of work")
    for cause, count in found.causes:
        print(f"  {count} x {cause}")
    if found.counts["failed"]:
        raise SystemExit(1)


@app.command()
def verify(store: StoreArgument) -> None:
    """Read a cube, labels, a map or a change again and compare them with what was written."""
    from sscl_geo.stages.upkeep import verify as run

    print(f"{store}: {run(location(store))} arrays of tiles are whole")


@app.command()
def repair(
    store: StoreArgument,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Do the failed and missing tiles of a store again, and only these."""
    path, machines = location(store), machines_of(executor, workers, dask)
    summary = _maker(path)(path, machines)
    print(f"{store}: {summary.now} units done now, {summary.done} in all, {summary.empty} empty")


def _maker(path: Location) -> "Callable[[Location, Machines], Summary]":
    """Return what finishes a store, by what made it."""
    from sscl_geo.io.plan import read_plan
    from sscl_geo.stages import baseline, change, combine, ingest, labels
    from sscl_geo.stages import map as network_map

    plan = read_plan(path)
    made = {} if plan is None else plan.arguments
    by_maker = {"maps": combine.resume, "baseline": baseline.resume}
    of_map = next((by_maker[name] for name in by_maker if name in made), network_map.resume)
    known = {
        "cube": ingest.resume, "labels": labels.resume, "map": of_map, "change": change.resume
    }  # fmt: skip
    if plan is None or plan.kind not in known:
        found = "not found" if plan is None else f"is a {plan.kind}"
        raise InvalidInputError(f"{path}: {found}; give the path of a {', '.join(known)}")
    return known[plan.kind]
