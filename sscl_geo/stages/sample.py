"""A sample of a map's pixels, for interpreters who do not see what the map says."""

from pathlib import Path

import numpy as np

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import Location
from sscl_geo.io.points import write_sample
from sscl_geo.io.strata import census, pixels_of
from sscl_geo.ops.sampling import Design, Stratum, equal, proportional, ranks


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
