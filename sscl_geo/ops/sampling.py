"""How many pixels of each class a stratified random sample takes, and which."""

import numpy as np
from jaxtyping import Float64, Int64

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend

Counts = Int64[np.ndarray, " k"]


class Stratum(Frozen):
    """The pixels of one class of a map.

    Attributes:
        value: The class.
        pixels: Number of its pixels.
        hectares: Their area on the ground.
        points: Number of pixels drawn of them.
    """

    value: int
    pixels: int
    hectares: float
    points: int


class Design(Frozen):
    """How a sample of a map's pixels was drawn: all that its estimators need to know.

    Attributes:
        map: Digest of the map's plan.
        seed: Seed of the draw.
        legend: The map's legend.
        strata: One stratum a class of the legend, in its order.
    """

    map: str
    seed: int
    legend: Legend
    strata: tuple[Stratum, ...]


def equal(pixels: Counts, points: int) -> Counts:
    """Return the same number of points for each class, or all pixels of a class that has fewer."""
    return np.asarray(np.minimum(pixels, points))


def proportional(
    pixels: Counts, hectares: Float64[np.ndarray, " k"], total: int, fewest: int
) -> Counts:
    """Return points in proportion to area, and a least number for rare classes.

    Classes whose proportion is less than `fewest` get so many, or all their pixels; the others
    share what is left of `total` by area (Olofsson et al. 2014, section 5.1.1), each at least
    `fewest`, so that the sum may exceed a `total` that is too small for all.
    """
    rare = np.zeros(pixels.shape, np.bool_)
    while True:
        left = max(total - int(np.minimum(pixels, fewest)[rare].sum()), 0)
        common = float(hectares[~rare].sum())
        points = np.where(rare, fewest, np.rint(left * hectares / max(common, 1e-12)))
        newly = ~rare & (points < fewest)
        if not newly.any():
            return np.asarray(np.minimum(pixels, points.astype(np.int64)))
        rare |= newly


def ranks(pixels: Counts, points: Counts, seed: int) -> list[Int64[np.ndarray, " _"]]:
    """Return which pixels of each class are drawn: positions in their order, ascending.

    Each pixel of a class is as likely as any other, none is drawn twice.
    """
    rng = np.random.default_rng(seed)
    return [
        np.sort(rng.choice(int(count), int(wanted), replace=False, shuffle=False)).astype(np.int64)
        for count, wanted in zip(pixels, points, strict=True)
    ]
