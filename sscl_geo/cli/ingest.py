"""The command that makes cubes of scenes."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sscl_geo.cli.options import (
    DATA,
    CompositorOption,
    DaskOption,
    ExecutorOption,
    WorkersOption,
    parsed,
)
from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import location
from sscl_geo.ops.masks import MaskSpec
from sscl_geo.plugins import names, shipped_names
from sscl_geo.runtime.work import machines_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sscl_geo.geo.area import Area
    from sscl_geo.geo.period import Period
    from sscl_geo.stages.ingest import Estimate

SHOWN_PERIODS = 12
"""Periods up to which a plan names each."""
SENSORS = ", ".join(names("sscl_geo.sensors"))

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(rich_help_panel=DATA)
def ingest(
    datetime: Annotated[
        str, typer.Option(metavar="A/B", help="First and last day, such as 2024-01-01/2024-12-31.")
    ],
    out: Annotated[
        str | None, typer.Option(help="Path of the cube; running the same command again resumes.")
    ] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="Area as a box, in degrees."),
    ] = None,
    region: Annotated[
        Path | None, typer.Option(help="Area as a file of polygons (GeoJSON, GeoPackage, …).")
    ] = None,
    catalog: Annotated[
        str,
        typer.Option(
            help="Catalogue: a profile that has an address, such as planetary-computer or "
            "earth-search (optical only), or as a YAML file; the URL of a STAC API; or a static "
            "catalog.json."
        ),
    ] = "planetary-computer",
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile of a --catalog that is a URL or a catalog.json: "
            f"{shipped_names('catalogs')}, or a YAML file."
        ),
    ] = None,
    period: Annotated[
        str,
        typer.Option(
            help="Length of a composite's period: PnD, PnM or PnY; or day, which keeps every day "
            "unmasked, for sscl-geo composite."
        ),
    ] = "P3M",
    sensors: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Sensor, of those that the catalogue has: {SENSORS}; repeat for several. "
            "Default: all that it has, each of which must have a scene."
        ),
    ] = None,
    grid: Annotated[
        str,
        typer.Option(
            help="Grid: auto for UTM zones, or a projected CRS in metres, such as EPSG:3035."
        ),
    ] = "auto",
    tile_px: Annotated[int, typer.Option(help="Side of a tile, in 10 m pixels.")] = 2048,
    compositor: CompositorOption = "median",
    opening: Annotated[
        int,
        typer.Option(
            help="Radius of the smallest cloud, in 20 m pixels; smaller specks are not masked."
        ),
    ] = MaskSpec().opening_px,
    dilation: Annotated[
        int,
        typer.Option(help="Width of the margin masked around clouds and shadows, in 20 m pixels."),
    ] = MaskSpec().dilation_px,
    orbit: Annotated[
        str,
        typer.Option(
            help="Orbit direction of radar scenes: ascending, descending, or auto, which takes the "
            "one that covers a tile best."
        ),
    ] = "auto",
    ask_pixels: Annotated[
        bool,
        typer.Option(
            "--pixel-witness/--no-pixel-witness",
            help="Check the DN offset of each optical scene on its pixels (three overviews).",
        ),
    ] = True,
    max_cloud: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Highest cloud cover of a scene, in percent, by its catalogue."
        ),
    ] = 100,
    max_unreadable: Annotated[
        int,
        typer.Option(
            help="Number of unreadable scenes of a unit (tile and period) that may be left out."
        ),
    ] = 0,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print bytes, time and cost, and read no pixels.")
    ] = False,
    mb_per_second: Annotated[
        float,
        typer.Option(help="With --plan: megabytes per second that a worker reads and decodes."),
    ] = 50.0,
    price: Annotated[
        float, typer.Option(help="With --plan: price of one worker for one hour.")
    ] = 0.0,
) -> None:
    """Pull co-registered Sentinel-1/2 scenes into a chunked Zarr cube."""
    from sscl_geo.io.profile import source
    from sscl_geo.stages.ingest import IngestRequest, Method, estimate
    from sscl_geo.stages.ingest import ingest as run_ingest

    _check_rates(mb_per_second, price)
    machines = machines_of(executor, workers, dask)
    mask = {"opening_px": opening, "dilation_px": dilation}
    method = {
        "compositor": compositor,
        "mask": mask,
        "orbit": orbit,
        "max_unreadable": max_unreadable,
    }
    request = IngestRequest(
        source=source(catalog, profile),
        area=_area(bbox, region),
        datetime=datetime,
        period=period,
        sensors=tuple(sensors or ()),
        grid=grid,
        tile_px=tile_px,
        max_cloud=max_cloud,
        ask_pixels=ask_pixels,
        method=parsed(Method, method),
    )
    if out is None and not plan:
        raise InvalidInputError("give --out, where the cube shall stand, or --plan")
    if out is None or plan:
        count = 1 if machines.executor == "serial" else workers
        _tell(estimate(request), mb_per_second, count, price)
        return
    summary = run_ingest(request, location(out), machines)
    print(f"{out}: {summary.done} units done ({summary.now} now), {summary.empty} without a scene")


def _check_rates(mb_per_second: float, price: float) -> None:
    if not 0 < mb_per_second < math.inf:
        raise InvalidInputError(f"--mb-per-second {mb_per_second:g}: must be a number above 0")
    if not 0 <= price < math.inf:
        raise InvalidInputError(f"--price {price:g}: must be a number, 0 or more")


def _tell(found: "Estimate", mb_per_second: float, workers: int, price: float) -> None:
    print(_periods(found.periods))
    hours = found.seconds(mb_per_second, workers) / 3600
    print(
        f"{found.units} units ({found.empty} without a scene) of {found.scenes} scenes: "
        f"{found.read_bytes / 1e9:.2f} GB to read, {found.write_bytes / 1e9:.2f} GB to write"
    )
    print(
        f"at {mb_per_second:g} MB/s with {workers} workers: {hours:.2f} hours, "
        f"{hours * workers * price:.2f} at {price:g} a worker's hour"
    )


def _periods(periods: "Sequence[Period]") -> str:
    names = [period.name for period in periods]
    shown = names if len(names) <= SHOWN_PERIODS else [*names[:2], "...", names[-1]]
    return f"periods ({len(names)}, ends exclusive): {', '.join(shown)}"


def _area(bbox: tuple[float, float, float, float] | None, region: Path | None) -> "Area":
    from sscl_geo.geo.area import Area
    from sscl_geo.geo.bbox import checked_bbox
    from sscl_geo.io.region import read_region

    if (bbox is None) == (region is None):
        raise InvalidInputError("give either --bbox W S E N or --region FILE")
    return Area(bbox=checked_bbox(*bbox)) if bbox else read_region(Path(str(region)))
