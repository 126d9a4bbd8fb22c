"""How good a map is, and how much of each class there truly is, by a sample of its pixels."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.ground import DEGREES, transformer
from sscl_geo.io.cubes import Classes
from sscl_geo.io.disk import write_whole
from sscl_geo.io.location import Location
from sscl_geo.io.points import Interpreted, Sample, pixel_centre, read_sample
from sscl_geo.io.strata import Pixel
from sscl_geo.ops.area_estimation import (
    Z95,
    AreaAssessment,
    ClassArea,
    Estimate,
    estimate,
    thin_strata,
)
from sscl_geo.ops.sampling import Design

NEAR = 4.0
"""How far, in metres, a point may have moved and still lie on its pixel; half a pixel is 5."""


def assess(map_path: Location, reference: Path, out: Path, *, may_miss: bool) -> AreaAssessment:
    """Estimate accuracies and areas of a map from an interpreted sample; keep them as JSON.

    Args:
        map_path: The map.
        reference: The sample, with its column `reference` filled in.
        out: The JSON file.
        may_miss: Whether points without a reference, or that were deleted, are left out. They bias
            the estimate if they are of another kind than the others, such as under clouds.

    Raises:
        InvalidInputError: The sample is of another map, damaged or not finished, or a stratum has
            too few points. Nothing is written.
    """
    mapped = Classes.open(map_path, "map")
    sample = read_sample(reference, "--reference")
    if sample.design.map != mapped.store.plan.digest:
        raise InvalidInputError(
            f"--reference {reference}: was drawn on another map than {map_path}; give the map that "
            "it was drawn on, or draw a sample of this one"
        )
    _check_points(sample, mapped, reference)
    answered = [point for point in sample.points if point.reference is not None]
    missing = len(sample.pixels) - len(answered)
    if missing and not may_miss:
        raise InvalidInputError(
            f"--reference {reference}: {missing} of {len(sample.pixels)} points have no reference; "
            "fill them in, or leave them out with --allow-missing"
        )
    matrix = _matrix(sample, answered, reference)
    _check_strata(matrix, sample.design, reference)
    found = _assessment(matrix, sample.design, missing)
    write_whole(out, found.model_dump_json(indent=1).encode())
    return found


def _check_points(sample: Sample, mapped: Classes, reference: Path) -> None:
    seen: set[int] = set()
    for point in sample.points:
        told = f"--reference {reference}: point {point.id}"
        if point.id in seen:
            raise InvalidInputError(f"{told} is there twice; delete one of the two")
        pixel = sample.pixels.get(point.id)
        if pixel is None:
            raise InvalidInputError(f"{told} was not drawn by the sample; delete it")
        seen.add(point.id)
        _check_place(point, pixel, mapped, told)


def _check_place(point: Interpreted, pixel: Pixel, mapped: Classes, told: str) -> None:
    grid = mapped.grid(pixel.zone)
    x, y = transformer(DEGREES, grid.crs).transform(point.longitude, point.latitude)
    left, bottom, right, top = grid.bounds
    if not (left <= x <= right and bottom <= y <= top):
        raise InvalidInputError(
            f"{told} lies outside the map, at {point.longitude:.5f} {point.latitude:.5f}; draw the "
            "sample again, or delete the point and give --allow-missing"
        )
    if math.dist((x, y), pixel_centre(grid, pixel)) > NEAR:
        raise InvalidInputError(
            f"{told} was moved off its pixel; put it back to the x and y of its row, or delete it "
            "and give --allow-missing"
        )


def _matrix(
    sample: Sample, answered: list[Interpreted], reference: Path
) -> Int64[np.ndarray, "k k"]:
    position = {value: index for index, value in enumerate(sample.design.legend.values)}
    matrix = np.zeros((len(position), len(position)), np.int64)
    for point in answered:
        if not isinstance(point.reference, int) or point.reference not in position:
            known = ", ".join(map(str, position))
            raise InvalidInputError(
                f"--reference {reference}: point {point.id} has the reference "
                f"{point.reference!r}; the legend has {known}"
            )
        matrix[position[sample.pixels[point.id].value], position[point.reference]] += 1
    return matrix


def _check_strata(matrix: Int64[np.ndarray, "k k"], design: Design, reference: Path) -> None:
    pixels = np.array([stratum.pixels for stratum in design.strata], np.int64)
    for index in np.flatnonzero(thin_strata(matrix, pixels)):
        stratum, name = design.strata[index], design.legend.names[index]
        raise InvalidInputError(
            f"--reference {reference}: class {stratum.value} ({name}) covers "
            f"{stratum.hectares:,.1f} ha of the map and has {matrix[index].sum()} points with a "
            "reference; two are needed: fill in more of them, or draw a larger sample"
        )


def _assessment(matrix: Int64[np.ndarray, "k k"], design: Design, missing: int) -> AreaAssessment:
    hectares = np.array([stratum.hectares for stratum in design.strata], np.float64)
    pixels = np.array([stratum.pixels for stratum in design.strata], np.int64)
    found = estimate(matrix, hectares, pixels)
    return AreaAssessment(
        map=design.map,
        seed=design.seed,
        legend=design.legend,
        points=int(matrix.sum()),
        missing=missing,
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        proportions=tuple(tuple(row) for row in found.proportions.tolist()),
        overall=found.overall[0],
        overall_error=found.overall[1],
        hectares=float(hectares.sum()),
        classes=tuple(_class_area(index, matrix, design, found) for index in range(len(hectares))),
    )


def _class_area(
    index: int, matrix: Int64[np.ndarray, "k k"], design: Design, found: Estimate
) -> ClassArea:
    total = sum(stratum.hectares for stratum in design.strata)
    error = total * float(found.shares_error[index])
    return ClassArea(
        value=design.strata[index].value,
        name=design.legend.names[index],
        points=int(matrix[index].sum()),
        mapped_ha=design.strata[index].hectares,
        adjusted_ha=total * float(found.shares[index]),
        standard_error_ha=error,
        interval_ha=Z95 * error,
        users=_known(found.users[index]),
        users_error=_known(found.users_error[index]),
        producers=_known(found.producers[index]),
        producers_error=_known(found.producers_error[index]),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
