"""How good maps are, and how much of each class there is."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sscl_geo.cli.options import ASSESS, BUNDLE, LOOK, CubeOption, MapOption
from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import Location, local_path, location

app = typer.Typer()

assess_app = typer.Typer(
    no_args_is_help=True, help="Assess a map's accuracy by a sample of its pixels."
)
app.add_typer(assess_app, name="assess", rich_help_panel=ASSESS)


@app.command(rich_help_panel=ASSESS)
def evaluate(
    map: MapOption,  # noqa: A002
    reference: Annotated[str, typer.Option(help="Reference labels on the map's pixels.")],
    out: Annotated[str | None, typer.Option(help="JSON file to write all scores to.")] = None,
) -> None:
    """Score a map against reference labels: overall and average accuracy, mIoU, per class."""
    from sscl_geo.stages.evaluate import evaluate as run

    scores = None if out is None else local_path(out, "the file of scores")
    found = run(location(map), location(reference), scores)
    missed = found.unmapped_pixels
    gaps = f"; {missed} more have labels and are not mapped" if missed else ""
    print(
        f"OA {found.oa:.4f}  AA {found.aa:.4f}  mIoU {found.miou:.4f}  "
        f"over {found.pixels} pixels{gaps}"
    )


@app.command(rich_help_panel=LOOK)
def report(
    cube: CubeOption,
    out: Annotated[str, typer.Option(help="Folder for report.html and report.json.")],
    map: Annotated[  # noqa: A002
        list[str] | None,
        typer.Option("--map", help="Map as NAME=PATH; repeat for several, yours first."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference labels to score maps against.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundle of the model that made the first map.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels that the model was trained on.")
    ] = None,
    assessment: Annotated[
        str | None, typer.Option(help="JSON file that assess report wrote of the first map.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Land cover",
) -> None:
    """Write one self-contained HTML page: a cube's inputs, and its maps with scores and areas."""
    from sscl_geo.stages.report import ReportRequest, make_report

    request = ReportRequest(
        title=title,
        cube=location(cube),
        maps=_named(map or ()),
        reference=None if reference is None else location(reference),
        labels=None if labels is None else location(labels),
        model=None if model is None else local_path(model, BUNDLE),
        assessment=None if assessment is None else local_path(assessment, "an assessment"),
    )
    print(f"report: {make_report(request, local_path(out, 'a report')).resolve()}")


@app.command(rich_help_panel=ASSESS)
def areas(
    map: MapOption,  # noqa: A002
    out: Annotated[str, typer.Option(help="File for the table of hectares: .csv or .parquet.")],
    zones: Annotated[
        str | None, typer.Option(help="Polygons to measure in, any CRS (GeoPackage, …).")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of --zones that holds their names.")
    ] = None,
) -> None:
    """Count a map's hectares by class and zone; its errors bias such counts, see assess."""
    from sscl_geo.stages.areas import AreasRequest, measure_areas

    polygons = None if zones is None else local_path(zones, "a file of zones")
    request = AreasRequest(map=location(map), zones=polygons, column=column)
    hectares = measure_areas(request, local_path(out, "a table"))
    print(f"{out}: {hectares:,.1f} ha mapped, by counting pixels")


@assess_app.command()
def sample(
    map: MapOption,  # noqa: A002
    out: Annotated[
        str,
        typer.Option(help="GeoPackage to write the points to; an existing one is never replaced."),
    ],
    per_class: Annotated[
        int | None, typer.Option(help="Number of points in each class. Default: 75", min=2)
    ] = None,
    total: Annotated[
        int | None,
        typer.Option(help="Instead of --per-class: number of points in all, by area.", min=2),
    ] = None,
    fewest: Annotated[
        int | None,
        typer.Option("--min", help="With --total: fewest points of a class. Default: 50", min=2),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the sample.", min=0)] = 0,
) -> None:
    """Draw a stratified random sample of a map, for interpreters who must not see its classes."""
    from sscl_geo.stages.sample import SampleRequest, draw_sample, sample_size

    size = sample_size(per_class, total, fewest)
    request = SampleRequest(map=location(map), size=size, seed=seed)
    design = draw_sample(request, local_path(out, "a sample"))
    drawn = sum(stratum.points for stratum in design.strata)
    print(f"{out}: {drawn} points to interpret; fill in the column reference")


@assess_app.command(name="report")
def assess_report(
    map: MapOption,  # noqa: A002
    reference: Annotated[str, typer.Option(help="The sample, its column reference filled in.")],
    out: Annotated[str, typer.Option(help="JSON file to write accuracies and areas to.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out points without a reference.")
    ] = False,
) -> None:
    """Estimate accuracy and true areas from an interpreted sample (Olofsson et al. 2014)."""
    from sscl_geo.ops.area_estimation import Z95
    from sscl_geo.stages.assess import assess

    points = local_path(reference, "a sample")
    found = assess(location(map), points, local_path(out, "an assessment"), may_miss=allow_missing)
    interval = Z95 * found.overall_error
    print(f"{out}: OA {found.overall:.4f} ± {interval:.4f} (95 %) by {found.points} points")


def _named(texts: Sequence[str]) -> tuple[tuple[str, Location], ...]:
    maps: dict[str, Location] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise InvalidInputError(f"--map {text!r}: give NAME=PATH, such as ours=map.zarr")
        if name in maps:
            raise InvalidInputError(f"--map {name}: names two maps; name each otherwise")
        maps[name] = location(path)
    return tuple(maps.items())
