"""Stores: planned, looked through and mended."""

import typer

from sscl_geo.cli.options import DaskOption, ExecutorOption, StoreArgument, WorkersOption
from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import location
from sscl_geo.runtime.work import machines_of

app = typer.Typer()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def plan(context: typer.Context) -> None:
    """Tell what an ingest would read, write, take and cost; options as of sscl_geo.ingest."""
    from sscl_geo.ingest import app as ingest_app

    ingest_app(["--plan", *context.args])


@app.command()
def status(store: StoreArgument) -> None:
    """Tell how far a cube or map is, and why units failed."""
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
    """Read a cube or map again and compare it with what was written."""
    from sscl_geo.stages.upkeep import verify as run

    print(f"{store}: {run(location(store))} arrays of tiles are whole")


@app.command()
def repair(
    store: StoreArgument,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Do the failed and missing units of a cube, map or change again, and only these."""
    from sscl_geo.io.plan import read_plan
    from sscl_geo.stages.change import resume as resume_change
    from sscl_geo.stages.ingest import resume as resume_ingest
    from sscl_geo.stages.map import resume as resume_map

    path, machines = location(store), machines_of(executor, workers, dask)
    plan = read_plan(path)
    known = {"cube": resume_ingest, "map": resume_map, "change": resume_change}
    resume = known.get(plan.kind if plan else "")
    if resume is None:
        raise InvalidInputError(f"{store}: is no cube or map, nor a change; give the path of one")
    summary = resume(path, machines)
    print(f"{store}: {summary.now} units done now, {summary.done} in all, {summary.empty} empty")
