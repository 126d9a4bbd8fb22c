"""One self-contained page on a map: what went in, what came out, how good it is."""

import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from pydantic import JsonValue

from sscl_geo import __version__
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.agreement import sureness
from sscl_geo.io.bundle import Bundle
from sscl_geo.io.cubes import Classes, Cube, made_by
from sscl_geo.io.disk import write_whole
from sscl_geo.io.location import Location
from sscl_geo.ops.area_estimation import Z95, AreaAssessment
from sscl_geo.stages.report.areas import (
    adjusted_rows,
    areas,
    areas_picture,
    overall,
    read_assessment,
)
from sscl_geo.stages.report.pictures import (
    Picture,
    classes_picture,
    confidence_picture,
    curves_picture,
    inputs_pictures,
    observations_pictures,
)
from sscl_geo.stages.report.season import season_picture
from sscl_geo.stages.report.tables import (
    Row,
    class_rows,
    gaps,
    made_of,
    margins,
    matrix_rows,
    scored,
)
from sscl_geo.stages.report.trust import reliability_picture, unsure_rows

PAGE = "report.html"
SUMMARY = "report.json"


class ReportRequest(Frozen):
    """What a report tells of: a cube alone, or maps of it too.

    Attributes:
        title: Heading of the page.
        cube: The cube.
        maps: Name and path of each map; the first is the model's, the others stand beside it.
        reference: Labels to score maps against.
        labels: Labels that the model was trained on.
        model: Bundle of the first map's model.
        assessment: What `sscl-geo assess report` found of the first map.
        notes: Paragraphs on how it came about.
        seconds: Time that everything took, if known.
    """

    title: str
    cube: Location
    maps: tuple[tuple[str, Location], ...] = ()
    reference: Location | None = None
    labels: Location | None = None
    model: Path | None = None
    assessment: Path | None = None
    notes: tuple[str, ...] = ()
    seconds: float | None = None


def make_report(request: ReportRequest, out: Path) -> Path:
    """Write `report.html` and `report.json` into a folder; return the page's path.

    Raises:
        InvalidInputError: The parts do not fit together.
    """
    cube = Cube.open(request.cube)
    maps = [Classes.open(path, "map") for _, path in request.maps]
    known = [path for path in (request.labels, request.reference) if path is not None]
    for each in (*maps, *(Classes.open(path, "labels") for path in known)):
        each.check_grids(cube.spec.grids, cube.path)
        if maps and not each.legend.is_like(maps[0].legend):
            raise InvalidInputError(
                f"{each.path} has the classes {', '.join(each.legend.names)}, and {maps[0].path} "
                f"{', '.join(maps[0].legend.names)}; show maps and labels of one legend"
            )
    if request.model is not None and not maps:
        raise InvalidInputError("--model: needs the map that it made as the first --map")
    told = Told(
        rows=[] if request.reference is None else _scored(request, request.reference),
        bundle=None if request.model is None else made_by(request.model, maps[0]),
        fraction=None if request.labels is None else _labelled_fraction(request.labels),
        assessment=_assessment(request, maps),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SUMMARY, (json.dumps(_summary(request, told), indent=1) + "\n").encode())
    write_whole(out / PAGE, _page(request, told, cube, maps).encode())
    return out / PAGE


class Told(NamedTuple):
    """What a report found out: scores of each map, the model, labelled share and assessment."""

    rows: list[Row]
    bundle: Bundle | None
    fraction: float | None
    assessment: AreaAssessment | None


def _assessment(request: ReportRequest, maps: list[Classes]) -> AreaAssessment | None:
    if request.assessment is None:
        return None
    if not maps:
        raise InvalidInputError("--assessment: needs the map that it is of as the first --map")
    return read_assessment(request.assessment, maps[0])


def _scored(request: ReportRequest, reference: Location) -> list[Row]:
    return [scored(name, path, reference) for name, path in request.maps]


def _summary(request: ReportRequest, told: Told) -> dict[str, JsonValue]:
    summary: dict[str, JsonValue] = {
        "labelled_fraction": told.fraction,
        "seconds": request.seconds,
    }
    if told.assessment is not None:
        summary["assessment"] = {
            "oa": told.assessment.overall,
            "oa_interval": Z95 * told.assessment.overall_error,
        }
    if not told.rows:
        return summary
    first = told.rows[0].scores
    return {
        "oa": first.oa,
        "aa": first.aa,
        "miou": first.miou,
        **summary,
        "majority": first.majority,
        "unmapped": first.unmapped_pixels,
        "others": {row.name: _numbers(row) for row in told.rows[1:]},
    }


def _numbers(row: Row) -> dict[str, JsonValue]:
    scores = row.scores
    return {
        "oa": scores.oa,
        "aa": scores.aa,
        "miou": scores.miou,
        "unmapped": scores.unmapped_pixels,
    }


def _page(request: ReportRequest, told: Told, cube: Cube, maps: list[Classes]) -> str:
    source = files("sscl_geo.stages.report").joinpath("page.html.j2").read_text()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    rows, bundle, assessment = told.rows, told.bundle, told.assessment
    return template.render(
        title=request.title,
        notes=request.notes,
        seconds=request.seconds,
        rows=rows,
        margins=margins(rows),
        gaps=gaps(rows),
        fraction=told.fraction,
        legend=maps[0].legend if maps else None,
        zones=[_zone(grid, request, cube, maps) for grid in cube.spec.grids],
        season=_season(request, cube),
        curves=None if bundle is None else curves_picture(bundle.history),
        per_class=class_rows(rows),
        matrix=matrix_rows(rows[0].scores) if rows else [],
        unsure=unsure_rows(maps[0]) if maps else [],
        reliability=_reliability(request),
        areas=areas(maps[0]) if maps and assessment is None else [],
        assessment=assessment,
        overall="" if assessment is None else overall(assessment),
        adjusted=[] if assessment is None else adjusted_rows(assessment),
        areas_picture=None if assessment is None else areas_picture(assessment),
        periods=[period.name for period in cube.spec.periods],
        made_of=made_of(cube),
        bundle=bundle,
        plan=cube.store.plan,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _reliability(request: ReportRequest) -> Picture | None:
    if request.reference is None or not request.maps:
        return None
    return reliability_picture(sureness(request.maps[0][1], request.reference))


def _season(request: ReportRequest, cube: Cube) -> Picture | None:
    labels = request.reference or request.labels
    return season_picture(cube, None if labels is None else Classes.open(labels, "labels"))


def _zone(grid: Grid, request: ReportRequest, cube: Cube, maps: list[Classes]) -> dict[str, object]:
    pictures = [*inputs_pictures(cube, grid, is_every_period=not maps)]
    if maps:
        for (name, _), mapped in zip(request.maps, maps, strict=True):
            pictures.append(classes_picture(mapped, grid, maps[0].legend, f"Map: {name}"))
        pictures += _labels_pictures(request, grid, maps[0].legend)
        pictures.append(confidence_picture(maps[0], grid))
        pictures += observations_pictures(maps[0], grid)
    return {"name": grid.crs, "grid": grid, "pictures": pictures}


def _labels_pictures(request: ReportRequest, grid: Grid, legend: Legend) -> list[Picture]:
    captions = {
        "Reference": request.reference,
        "Labels that it learned from": request.labels,
    }
    return [
        classes_picture(Classes.open(path, "labels"), grid, legend, caption)
        for caption, path in captions.items()
        if path is not None
    ]


def _labelled_fraction(path: Location) -> float:
    labels = Classes.open(path, "labels")
    counts = [
        ((labels.read(grid.zone, window) != 0).sum(), window.height * window.width)
        for grid in labels.grids
        for window in (grid.window(tile) for tile in grid.tiles)
    ]
    labelled, pixels = (sum(column) for column in zip(*counts, strict=True))
    return float(labelled / pixels)
