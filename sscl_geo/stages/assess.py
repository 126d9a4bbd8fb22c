"""How good a map is, and how much of each class there truly is, by a sample of its pixels."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.ground import DEGREES, transformer
from sscl_geo.io.cubes import Classes
from sscl_geo.io.disk import write_whole
from sscl_geo.io.location import Location
from sscl_geo.io.points import Interpreted, Sample, pixel_centre, read_sample, write_sample
from sscl_geo.io.strata import Pixel, census, pixels_of
from sscl_geo.ops.areas import (
    Z95,
    AreaAssessment,
    ClassArea,
    Estimate,
    estimate,
    thin_strata,
)
from sscl_geo.ops.sampling import Design, Stratum, equal, proportional, ranks

NEAR = 4.0
"""How far, in metres, a point may have moved and still lie on its pixel; half a pixel is 5."""


class EqualSize(Frozen):
    """The same number of points for each class, good for user's accuracy and rare classes."""

    per_class: int = 75


class ProportionalSize(Frozen):
    """Points in proportion to area, good for overall accuracy; rare classes get `fewest`."""

    total: int
    fewest: int = 50


class SampleRequest(Frozen):
    """What is drawn.

    Attributes:
        map: The map.
        size: How many points of each class.
        seed: Seed of the draw.
    """

    map: Location
    size: EqualSize | ProportionalSize = EqualSize()
    seed: int = 0


def sample_size(
    per_class: int | None, total: int | None, fewest: int | None
) -> EqualSize | ProportionalSize:
    """Return the size that a user means; nothing named is 75 points of each class.

    Raises:
        InvalidInputError: Options of both kinds are given, or --min without --total.
    """
    if total is None:
        if fewest is not None:
            raise InvalidInputError("--min: is the least of a class with --total; give both")
        return EqualSize() if per_class is None else EqualSize(per_class=per_class)
    if per_class is not None:
        raise InvalidInputError("--per-class and --total: give one of the two")
    if fewest is None:
        return ProportionalSize(total=total)
    return ProportionalSize(total=total, fewest=fewest)


def draw_sample(request: SampleRequest, out: Path) -> Design:
    """Write a stratified random sample of a map's pixels for interpreters; return its design.

    The map's classes are the strata. Each pixel of a class is as likely as any other, over all
    tiles; none is drawn twice. The same request on the same map draws the same points.

    Raises:
        InvalidInputError: There is no map, it has no class anywhere, or `out` exists: it may hold
            what interpreters wrote.
    """
    if out.suffix != ".gpkg":
        raise InvalidInputError(f"--out {out}: must end in .gpkg")
    if out.exists():
        raise InvalidInputError(
            f"--out {out}: exists, and points in it may have been interpreted; choose another"
        )
    mapped = Classes.open(request.map, "map")
    counted = census(mapped)
    pixels = counted.pixels.sum(axis=0)
    if not pixels.any():
        raise InvalidInputError(f"--map {request.map}: has no pixel with a class")
    if isinstance(request.size, EqualSize):
        points = equal(pixels, request.size.per_class)
    else:
        points = proportional(pixels, counted.hectares, request.size.total, request.size.fewest)
    drawn = list(pixels_of(mapped, counted.pixels, ranks(pixels, points, request.seed)))
    order = np.random.default_rng((request.seed, 1)).permutation(len(drawn))
    design = Design(
        map=mapped.store.plan.digest,
        seed=request.seed,
        legend=mapped.legend,
        strata=tuple(
            Stratum(value=value, pixels=int(count), hectares=float(area), points=int(wanted))
            for value, count, area, wanted in zip(
                mapped.legend.values, pixels, counted.hectares, points, strict=True
            )
        ),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_sample(out, design, mapped.grids, [drawn[index] for index in order])
    return design


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
