"""How much of each class there is: by counting pixels, and by an assessment."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import parse, read_json
from sscl_geo.geo.legend import LandClass
from sscl_geo.io.areas import class_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.ops.area_estimation import Z95, AreaAssessment
from sscl_geo.stages.report.pictures import Picture, figure_address

DASH = "-"


class AreaRow(NamedTuple):
    """The mapped area of one class."""

    item: LandClass
    hectares: float
    share: float


class AdjustedRow(NamedTuple):
    """One class of an assessment, with 95 % intervals."""

    item: LandClass
    points: int
    counted: float
    adjusted: float
    interval: float
    users: str
    producers: str


def areas(mapped: Classes) -> list[AreaRow]:
    """Return the mapped area of each class, counted in pixels."""
    hectares = class_hectares(mapped)
    total = max(float(hectares[list(mapped.legend.values)].sum()), 1e-9)
    return [
        AreaRow(item, float(hectares[item.value]), float(hectares[item.value]) / total)
        for item in mapped.legend.classes
    ]


def read_assessment(path: Path, mapped: Classes) -> AreaAssessment:
    """Return an assessment of a map.

    Raises:
        InvalidInputError: The file is absent, no assessment, or of another map.
    """
    told = f"--assessment {path}"
    if not path.is_file():
        raise InvalidInputError(f"{told}: no such file; make it with sscl-geo assess report")
    try:
        fields = read_json(path.read_bytes())
    except ValueError:
        raise InvalidInputError(f"{told}: is no JSON") from None
    if not isinstance(fields, dict):
        raise InvalidInputError(f"{told}: is no assessment")
    found = parse(AreaAssessment, fields, told)
    if found.map != mapped.store.plan.digest:
        raise InvalidInputError(f"{told}: is not of {mapped.path}, the first --map")
    return found


def adjusted_rows(assessment: AreaAssessment) -> list[AdjustedRow]:
    """Return one row a class."""
    return [
        AdjustedRow(
            item,
            row.points,
            row.mapped_ha,
            row.adjusted_ha,
            row.interval_ha,
            _percent(row.users, row.users_error),
            _percent(row.producers, row.producers_error),
        )
        for item, row in zip(assessment.legend.classes, assessment.classes, strict=True)
    ]


def overall(assessment: AreaAssessment) -> str:
    """Return overall accuracy and its 95 % interval in percent."""
    return _percent(assessment.overall, assessment.overall_error)


def areas_picture(assessment: AreaAssessment) -> Picture:
    """Return bars of adjusted area with 95 % intervals, and beside them what pixels count."""
    rows = adjusted_rows(assessment)
    figure = Figure(figsize=(7.5, 0.7 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    axes.barh(
        places,
        [row.adjusted for row in rows],
        xerr=[row.interval for row in rows],
        height=0.62,
        color=[row.item.color for row in rows],
        ecolor="#22251f",
        capsize=3,
        error_kw={"elinewidth": 1.2},
    )
    axes.plot(
        [row.counted for row in rows],
        places,
        linestyle="none",
        marker="D",
        markersize=5,
        markerfacecolor="white",
        markeredgecolor="#22251f",
    )
    axes.set_yticks(places, [row.item.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("hectares", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    return Picture(
        "Bars: area adjusted by the sample, with its 95 % interval; diamonds: counted pixels",
        figure_address(figure),
    )


def _percent(value: float | None, error: float | None) -> str:
    if value is None or error is None:
        return DASH
    return f"{100 * value:.1f} ± {100 * Z95 * error:.1f}"
