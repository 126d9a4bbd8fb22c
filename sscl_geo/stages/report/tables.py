"""The numbers of a report."""

from collections.abc import Sequence
from typing import NamedTuple

from sscl_geo.geo.legend import LandClass
from sscl_geo.io.agreement import agreement
from sscl_geo.io.cubes import Cube
from sscl_geo.io.location import Location
from sscl_geo.io.tables import SCENES, read_scenes
from sscl_geo.ops.scores import Evaluation


class Row(NamedTuple):
    """A map's name and its scores."""

    name: str
    scores: Evaluation


class ClassRow(NamedTuple):
    """One class: IoU in each map, and user's and producer's accuracy of the first.

    Its reference pixels are all, and those that the first map leaves without a class.
    """

    item: LandClass
    reference: int
    unmapped: int
    precision: str
    recall: str
    iou: tuple[str, ...]


class Cell(NamedTuple):
    """One cell of a confusion matrix: pixels, and their share of the reference class."""

    pixels: int
    share: float


class Made(NamedTuple):
    """What one sensor gave a cube: items of the catalogue, and units that some of them reached."""

    sensor: str
    scenes: int
    refused: int
    first: str
    last: str


def made_of(cube: Cube) -> list[Made]:
    """Return what each sensor gave a cube."""
    scenes = read_scenes((cube.path / SCENES).read_bytes())
    refused = cube.store.plan.content.get("refused")
    counts = refused if isinstance(refused, dict) else {}
    found = []
    for sensor in cube.spec.sensors:
        days = sorted(s.datetime.date().isoformat() for s in scenes if s.sensor == sensor.name)
        left_out = int(str(counts.get(sensor.name, 0)))
        found.append(Made(sensor.name, len(days), left_out, days[0], days[-1]))
    return found


def scored(name: str, map_path: Location, reference: Location) -> Row:
    """Return a map's scores against reference labels."""
    return Row(name, agreement(map_path, reference))


def margins(rows: Sequence[Row]) -> list[str]:
    """Say by how many points of overall accuracy the first map is above or below each other."""
    if not rows:
        return []
    first = rows[0]
    others = [(row.name, row.scores.oa) for row in rows[1:]]
    others.append(("the most frequent class everywhere", first.scores.majority))
    return [f"{_points(first.scores.oa - oa)} {name}" for name, oa in others]


def _points(difference: float) -> str:
    side = "above" if difference >= 0 else "BELOW"
    return f"{100 * abs(difference):.1f} points {side}"


def gaps(rows: Sequence[Row]) -> str:
    """Say which maps leave reference pixels without a class, and what that means, if any does."""
    missed = {row.name: row.scores.unmapped_pixels for row in rows}
    told = [f"{name} does not map {n:,} reference pixels" for name, n in missed.items() if n]
    if not told:
        return ""
    text = f"{'; '.join(told)}: scores are of the pixels that a map has."
    if len(rows) > 1:
        text += (
            " These may differ from map to map, and one that leaves out hard ground looks better."
        )
    return text


def class_rows(rows: Sequence[Row]) -> list[ClassRow]:
    """Return one row a class of the legend; none without a map."""
    if not rows:
        return []
    first = rows[0].scores
    return [
        ClassRow(
            item,
            sum(first.matrix[index]) + first.unmapped[index],
            first.unmapped[index],
            _percent(first.precision[index]),
            _percent(first.recall[index]),
            tuple(_percent(row.scores.iou[index]) for row in rows),
        )
        for index, item in enumerate(first.legend.classes)
    ]


def matrix_rows(scores: Evaluation) -> list[tuple[LandClass, list[Cell]]]:
    """Return the confusion matrix, one row a reference class that occurs."""
    return [
        (item, [Cell(pixels, pixels / sum(row)) for pixels in row])
        for item, row in zip(scores.legend.classes, scores.matrix, strict=True)
        if sum(row)
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
