"""`python -m sscl_geo.ingest`: pull Sentinel-1/2 scenes of an area into a Zarr cube."""

from pathlib import Path
from typing import Annotated

import typer

from sscl_geo.errors import InvalidInputError, reported
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import checked_bbox
from sscl_geo.io.profile import source
from sscl_geo.io.region import read_region
from sscl_geo.io.store import local_path
from sscl_geo.runtime.work import machines_of
from sscl_geo.stages.ingest import IngestRequest
from sscl_geo.stages.ingest import ingest as run_ingest

app = typer.Typer(add_completion=False)


@app.command()
def ingest(
    datetime: Annotated[str, typer.Option(metavar="A/B", help="First and last day.")],
    out: Annotated[str, typer.Option(help="Path of the cube; the same command resumes.")],
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="Area in degrees."),
    ] = None,
    region: Annotated[
        Path | None, typer.Option(help="Area as polygons (GeoJSON, GeoPackage, …).")
    ] = None,
    catalog: Annotated[
        str, typer.Option(help="Profile name, STAC API URL, or static catalog.json.")
    ] = "planetary-computer",
    profile: Annotated[
        str | None, typer.Option(help="Profile (name or YAML) for a URL or catalog.json.")
    ] = None,
    period: Annotated[str, typer.Option(help="Length of a composite: PnD, PnM or PnY.")] = "P3M",
    sensors: Annotated[
        list[str] | None,
        typer.Option(help="Sensor; repeat for several. Default: all of the catalogue."),
    ] = None,
    grid: Annotated[
        str, typer.Option(help="auto for UTM zones, or a projected CRS in metres.")
    ] = "auto",
    tile_px: Annotated[int, typer.Option(help="Side of a tile at 10 m.")] = 2048,
    executor: Annotated[str, typer.Option(help="serial or dask.")] = "serial",
    workers: Annotated[int, typer.Option(help="Processes of a local Dask cluster.")] = 2,
    dask: Annotated[
        str | None, typer.Option(metavar="tcp://…", help="Address of a running Dask scheduler.")
    ] = None,
) -> None:
    """Pull co-registered Sentinel-1/2 scenes into a chunked Zarr cube."""
    request = IngestRequest(
        source=source(catalog, profile),
        area=_area(bbox, region),
        datetime=datetime,
        period=period,
        sensors=tuple(sensors or ()),
        grid=grid,
        tile_px=tile_px,
    )
    summary = run_ingest(request, local_path(out), machines_of(executor, workers, dask))
    print(f"{out}: {summary.done} units done ({summary.now} now), {summary.empty} without a scene")


def _area(bbox: tuple[float, float, float, float] | None, region: Path | None) -> Area:
    if (bbox is None) == (region is None):
        raise InvalidInputError("give either --bbox W S E N or --region FILE")
    return Area(bbox=checked_bbox(*bbox)) if bbox else read_region(Path(str(region)))


def main() -> None:
    """Run the command; a failure of the user's kind is one line and exit code 1 or 2."""
    with reported():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
