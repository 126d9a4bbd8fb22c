"""Imagery and labels: from scenes to cubes, labels and chips."""

from pathlib import Path
from typing import Annotated

import typer

from sscl_geo.cli.options import (
    DATA,
    RESEARCH,
    CompositorOption,
    CubeOption,
    DaskOption,
    ExecutorOption,
    OutOption,
    WorkersOption,
    parsed,
)
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.bbox import checked_bbox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.location import local_path, location
from sscl_geo.plugins import names, shipped_file, shipped_names
from sscl_geo.runtime.work import machines_of

app = typer.Typer()

CHIPSETS = "sscl_geo.io.chipsets"
CUBE = "cube"
KINDS = ", ".join((CUBE, *names(CHIPSETS)))
FILTERS = ", ".join(names("sscl_geo.ops.despeckle"))
LEGENDS = shipped_names("catalogs/legends")
LAYER = "stac:"
"""What marks a label source as a layer of a catalogue."""


@app.command(rich_help_panel=DATA)
def labels(
    cube: CubeOption,
    source: Annotated[
        str,
        typer.Option(
            help="Reference data: a GeoTIFF of classes, polygons (GeoPackage, GeoJSON, …), or "
            "stac:LAYER, a label layer of the catalogue, such as stac:worldcover."
        ),
    ],
    out: OutOption,
    legend: Annotated[
        str | None,
        typer.Option(
            help=f"Legend of the source's classes: {LEGENDS}, or a YAML file. Default, for "
            "stac:LAYER only: the one that the catalogue's profile names."
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Column of the polygons that holds their class numbers. Default: class"),
    ] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="Use labels only inside this box, in degrees."),
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(help="Catalogue that has stac:LAYER; default: the cube's.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of a --catalog that is a URL or a catalog.json.")
    ] = None,
    datetime: Annotated[
        str | None,
        typer.Option(
            metavar="A/B",
            help="First and last day of stac:LAYER; default: the raster nearest in time.",
        ),
    ] = None,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Put reference labels on a cube's pixels."""
    from sscl_geo.io.labels import RASTERS
    from sscl_geo.io.profile import source as catalog_source
    from sscl_geo.stages.labels import LabelsRequest, LayerSource, legend_of, make_labels

    if not source.startswith(LAYER) and (catalog or profile or datetime):
        raise InvalidInputError(
            f"--catalog, --profile and --datetime are of stac:LAYER, and --source is {source}; "
            "leave them out"
        )
    is_raster = source.startswith(LAYER) or source.lower().endswith(RASTERS)
    if column is not None and is_raster:
        raise InvalidInputError(f"--column {column}: is of polygons, not {source}; leave it out")
    if profile and not catalog:
        raise InvalidInputError("--profile: is of --catalog; give both, or neither")
    if not source.startswith(LAYER) and legend is None:
        raise InvalidInputError("--legend: a file does not say what its numbers mean; give one")
    layer = LayerSource(
        layer=source.removeprefix(LAYER),
        catalog=catalog_source(catalog, profile) if catalog else None,
        datetime=datetime,
    )

    request = LabelsRequest(
        cube=location(cube),
        source=layer if source.startswith(LAYER) else Path(source),
        legend=legend_of(layer, location(cube)) if legend is None else _legend(legend),
        column=column or "class",
        bbox=None if bbox is None else checked_bbox(*bbox),
    )
    machines = machines_of(executor, workers, dask)
    summary, share = make_labels(request, location(out), machines)
    print(
        f"{out}: {100 * share:.2f} % of the pixels are labelled, in {summary.done} tiles "
        f"({summary.now} now), {summary.empty} without a label"
    )


@app.command(rich_help_panel=DATA)
def composite(
    cube: CubeOption,
    out: OutOption,
    period: Annotated[
        str, typer.Option(help="Length of a composite's period: PnD, PnM or PnY.")
    ] = "P3M",
    compositor: CompositorOption = "median",
    opening: Annotated[
        int | None,
        typer.Option(help="Radius of the smallest cloud, in 20 m pixels. Default: as in ingest"),
    ] = None,
    dilation: Annotated[
        int | None,
        typer.Option(
            help="Width of the margin masked around clouds, in 20 m pixels. Default: as in ingest"
        ),
    ] = None,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Make composites of a cube that was ingested with --period day, without a download."""
    from sscl_geo.stages.ingest import CompositeRequest, Method
    from sscl_geo.stages.ingest import composite_days as run

    given = {"opening_px": opening, "dilation_px": dilation}
    mask = {name: value for name, value in given.items() if value is not None}
    method = parsed(Method, {"compositor": compositor, "mask": mask})
    request = CompositeRequest(cube=location(cube), period=period, method=method)
    summary = run(request, location(out), machines_of(executor, workers, dask))
    print(f"{out}: {summary.done} units done ({summary.now} now), {summary.empty} without a day")


@app.command(rich_help_panel=RESEARCH)
def chips(
    source: Annotated[
        str, typer.Option(help="Path of a set of chips (file or folder), or of a cube.")
    ],
    kind: Annotated[str, typer.Option(help=f"Format of the source: {KINDS}.")],
    out: OutOption,
    legend: Annotated[
        str | None,
        typer.Option(help=f"Legend of the set's labels: {LEGENDS}, or a YAML file."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="With --kind cube: labels on the cube's pixels.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="With --kind cube: side of a chip, in 10 m pixels. Default: 64"),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(
            help="With --kind cube: side, in metres, of the blocks of ground that splits keep "
            "whole. Default: 1280"
        ),
    ] = None,
) -> None:
    """Make a store of chips, for pretrain, finetune and experiment, from a set or a cube."""
    from sscl_geo import plugins
    from sscl_geo.io.chips import write_chips
    from sscl_geo.stages.cut import CutSpec, cut_chips

    if kind not in (CUBE, *names(CHIPSETS)):
        raise InvalidInputError(f"--kind {kind}: choose one of {KINDS}")
    given = {"side_px": size, "block_m": block}
    cut = {name: value for name, value in given.items() if value is not None}
    if kind == CUBE and legend is not None:
        raise InvalidInputError("--legend: labels of a cube have their own; leave it out")
    if kind != CUBE and (cut or labels is not None):
        raise InvalidInputError("--labels, --size and --block are of --kind cube; leave them out")
    if kind == CUBE:
        reference = None if labels is None else location(labels)
        spec = parsed(CutSpec, cut)
        made = cut_chips(location(source), reference, spec, location(out))
    else:
        named = None if legend is None else _legend(legend)
        files = local_path(source, "a set of chips")
        made = write_chips(plugins.find(CHIPSETS, kind).chip_source(files, named), location(out))
    print(f"{out}: {made.spec.count} chips of {made.spec.side} px, {len(made.spec.bands)} bands")


@app.command(rich_help_panel=RESEARCH)
def despeckle(
    chips: Annotated[str, typer.Option(help="Path of a store of chips with radar bands.")],
    out: OutOption,
    speckle_filter: Annotated[
        str, typer.Option("--filter", help=f"Speckle filter: {FILTERS}.")
    ] = "lognlm",
    looks: Annotated[
        float, typer.Option(help="Equivalent number of looks of the radar images.")
    ] = 4.4,
) -> None:
    """Filter the speckle of chips' radar bands."""
    from sscl_geo.stages.despeckle import despeckle_chips

    made = despeckle_chips(location(chips), location(out), speckle_filter, looks)
    print(f"{out}: {made.spec.count} chips, radar filtered by {speckle_filter}")


def _legend(name: str) -> Legend:
    return read_yaml(Legend, shipped_file("catalogs/legends", name, "--legend"))
