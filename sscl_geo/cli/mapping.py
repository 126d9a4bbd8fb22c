"""Maps: made, compared, and handed on."""

from typing import Annotated

import typer

from sscl_geo.cli.options import (
    BUNDLE,
    MAP,
    PUBLISH,
    CubeOption,
    DaskOption,
    ExecutorOption,
    MapOption,
    OutOption,
    WorkersOption,
    parsed,
)
from sscl_geo.io.location import local_path, location
from sscl_geo.runtime.work import machines_of

app = typer.Typer()


@app.command(name="map", rich_help_panel=MAP)
def make_map(
    cube: CubeOption,
    model: Annotated[str, typer.Option(help="Bundle of a finetuned model.")],
    out: OutOption,
    tile_px: Annotated[
        int | None, typer.Option(help="Side of a tile, in 10 m pixels; default: the cube's.")
    ] = None,
    flips: Annotated[
        bool, typer.Option(help="Average each window with its mirror images; four times slower.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option(help="Keep the probability of every class.")
    ] = False,
    gpu: Annotated[
        bool, typer.Option(help="Compute on GPUs, in bfloat16; each worker needs one of its own.")
    ] = False,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Map a cube wall to wall."""
    from sscl_geo.stages.map import Inference
    from sscl_geo.stages.map import make_map as run

    summary = run(
        location(cube),
        local_path(model, BUNDLE),
        location(out),
        machines_of(executor, workers, dask),
        tile_px,
        Inference(has_flips=flips, has_gpu=gpu, has_probabilities=probabilities),
    )
    print(f"{out}: {summary.done} tiles mapped ({summary.now} now), {summary.empty} without data")


@app.command(rich_help_panel=MAP)
def baseline(
    cube: CubeOption,
    labels: Annotated[str, typer.Option(help="Labels on the cube's pixels, to train on.")],
    out: OutOption,
    trees: Annotated[int, typer.Option(help="Number of trees of the forest.")] = 200,
    context: Annotated[
        list[int] | None,
        typer.Option(
            help="Side, in pixels, of a square around each pixel whose mean and standard deviation "
            "are features too; repeat for several."
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option(help="Keep the probability of every class.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the forest.")] = 0,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Map a cube with a random forest, to compare with or to combine."""
    from sscl_geo.stages.baseline import ForestRequest, make_baseline

    fields = {
        "trees": trees, "context": context or (), "seed": seed, "has_probabilities": probabilities
    }  # fmt: skip
    request = parsed(ForestRequest, fields)
    machines = machines_of(executor, workers, dask)
    summary = make_baseline(location(cube), location(labels), location(out), request, machines)
    print(f"{out}: {summary.done} tiles mapped ({summary.now} now), {summary.empty} without data")


@app.command(rich_help_panel=MAP)
def combine(
    map: Annotated[  # noqa: A002
        list[str], typer.Option("--map", help="Map made with --probabilities; repeat for each.")
    ],
    out: OutOption,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Combine maps of one cube, made by any models: the mean of their probabilities."""
    from sscl_geo.stages.combine import combine as run

    machines = machines_of(executor, workers, dask)
    summary = run([location(path) for path in map], location(out), machines)
    print(f"{out}: {summary.done} tiles combined ({summary.now} now), {summary.empty} without data")


@app.command(rich_help_panel=MAP)
def change(
    before: Annotated[str, typer.Option(help="Path of the earlier map.")],
    after: Annotated[str, typer.Option(help="Path of the later map, made by the same model.")],
    out: OutOption,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Map what changed between two maps made by the same model, how surely, and in hectares."""
    from sscl_geo.stages.change import make_change

    machines = machines_of(executor, workers, dask)
    summary = make_change(location(before), location(after), location(out), machines)
    print(f"{out}: {summary.done} tiles compared ({summary.now} now), {summary.empty} without data")


@app.command(rich_help_panel=PUBLISH)
def publish(
    map: MapOption,  # noqa: A002
    out: Annotated[
        str, typer.Option(help="Folder of the product; running the same command again resumes.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Bundle of the model that made the map, to publish it too.")
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(help="One CRS in metres for all zones; default: the map's own pixels."),
    ] = None,
    file_px: Annotated[int, typer.Option(help="Longest side of a file, in pixels.")] = 8192,
    id: Annotated[str, typer.Option("--id", help="Id of the STAC collection.")] = "landcover",  # noqa: A002
    title: Annotated[str, typer.Option(help="Title of the STAC collection.")] = "Land cover",
    license: Annotated[  # noqa: A002
        str, typer.Option("--license", help="Licence of the product: an SPDX identifier, or other.")
    ] = "other",
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Write a map as COGs, mosaics, styles and a STAC catalogue."""
    from sscl_geo.stages.publish import PublishRequest
    from sscl_geo.stages.publish import publish as run

    fields = {
        "map": location(map), "model": None if model is None else local_path(model, BUNDLE),
        "crs": crs, "file_px": file_px,
        "id": id, "title": title, "license": license,
    }  # fmt: skip
    request = parsed(PublishRequest, fields)
    machines = machines_of(executor, workers, dask)
    summary = run(request, local_path(out, "a product"), machines)
    print(f"{out}: {summary.done} tiles published ({summary.now} now), {summary.empty} empty")


@app.command(rich_help_panel=PUBLISH)
def vectorize(
    map: MapOption,  # noqa: A002
    out: Annotated[str, typer.Option(help="File of polygons: .parquet (GeoParquet) or .gpkg.")],
    min_area: Annotated[
        float, typer.Option(help="Minimum mapping unit, in hectares; smaller pieces are merged.")
    ] = 0.5,
) -> None:
    """Write a map's classes as polygons, which tiles do not cut."""
    from sscl_geo.stages.vectorize import vectorize as run

    count = run(location(map), local_path(out, "a vector file"), min_area)
    print(f"{out}: {count:,} polygons")
