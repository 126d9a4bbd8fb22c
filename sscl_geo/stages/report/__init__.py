"""One self-contained page on a map: what went in, what came out, how good it is."""

import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from pydantic import JsonValue

from sscl_geo import __version__
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.disk import write_whole
from sscl_geo.io.location import Location
from sscl_geo.stages.report.pictures import (
    classes_picture,
    confidence_picture,
    curves_picture,
    radar_picture,
    true_colour_picture,
)
from sscl_geo.stages.report.tables import Row, areas, class_rows, margins, matrix_rows, scored

PAGE = "report.html"
SUMMARY = "report.json"


class ReportRequest(Frozen):
    """What a report tells of.

    Attributes:
        title: Heading of the page.
        cube: The cube that was mapped.
        maps: Name and path of each map; the first is the model's, the others stand beside it.
        reference: Labels to score against.
        labels: Labels that the model was trained on.
        model: Bundle of the first map's model.
        notes: Paragraphs on how it came about.
        seconds: Time that everything took, if known.
    """

    title: str
    cube: Location
    maps: tuple[tuple[str, Location], ...]
    reference: Location
    labels: Location | None = None
    model: Path
    notes: tuple[str, ...] = ()
    seconds: float | None = None


def make_report(request: ReportRequest, out: Path) -> Path:
    """Write `report.html` and `report.json` into a folder; return the page's path.

    Raises:
        InvalidInputError: The parts do not fit together.
    """
    if not request.maps:
        raise InvalidInputError("a report needs a map; give --map NAME=PATH")
    cube, bundle = Cube.open(request.cube), read_card(request.model)
    maps = [Classes.open(path, "map") for _, path in request.maps]
    for each in maps:
        each.check_grids(cube.spec.grids, cube.path)
    rows = [scored(name, path, request.reference) for name, path in request.maps]
    fraction = None if request.labels is None else _labelled_fraction(request.labels)
    out.mkdir(parents=True, exist_ok=True)
    summary = _summary(request, rows, fraction)
    write_whole(out / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    page = _page(request, rows, bundle, maps[0], cube, fraction)
    write_whole(out / PAGE, page.encode())
    return out / PAGE


def _summary(
    request: ReportRequest, rows: list[Row], fraction: float | None
) -> dict[str, JsonValue]:
    first = rows[0].scores
    return {
        "oa": first.oa,
        "aa": first.aa,
        "miou": first.miou,
        "labelled_fraction": fraction,
        "seconds": request.seconds,
        "majority": first.majority,
        "others": {
            row.name: {"oa": row.scores.oa, "aa": row.scores.aa, "miou": row.scores.miou}
            for row in rows[1:]
        },
    }


def _page(
    request: ReportRequest,
    rows: list[Row],
    bundle: Bundle,
    mapped: Classes,
    cube: Cube,
    fraction: float | None,
) -> str:
    source = files("sscl_geo.stages.report").joinpath("page.html.j2").read_text()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    return template.render(
        title=request.title,
        notes=request.notes,
        seconds=request.seconds,
        rows=rows,
        margins=margins(rows),
        fraction=fraction,
        legend=mapped.legend,
        zones=[_zone(grid, request, cube, mapped.legend) for grid in mapped.grids],
        curves=curves_picture(bundle.history),
        per_class=class_rows(rows),
        matrix=matrix_rows(rows[0].scores),
        areas=areas(mapped),
        periods=[period.name for period in cube.spec.periods],
        bundle=bundle,
        plan=cube.store.plan,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _zone(grid: Grid, request: ReportRequest, cube: Cube, legend: Legend) -> dict[str, object]:
    inputs = [true_colour_picture(cube, grid), radar_picture(cube, grid)]
    reference = Classes.open(request.reference, "labels")
    pictures = [picture for picture in inputs if picture is not None]
    for name, path in request.maps:
        pictures.append(classes_picture(Classes.open(path, "map"), grid, legend, f"Map: {name}"))
    pictures.append(classes_picture(reference, grid, legend, "Reference"))
    if request.labels is not None:
        labels = Classes.open(request.labels, "labels")
        pictures.append(classes_picture(labels, grid, legend, "Labels that it learned from"))
    pictures.append(confidence_picture(Classes.open(request.maps[0][1], "map"), grid))
    return {"name": grid.crs, "grid": grid, "pictures": pictures}


def _labelled_fraction(path: Location) -> float:
    labels = Classes.open(path, "labels")
    counts = [
        ((labels.read(grid.zone, window) != 0).sum(), window.height * window.width)
        for grid in labels.grids
        for window in (grid.window(tile) for tile in grid.tiles)
    ]
    labelled, pixels = (sum(column) for column in zip(*counts, strict=True))
    return float(labelled / pixels)
