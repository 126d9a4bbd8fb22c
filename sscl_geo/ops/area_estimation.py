"""Accuracy and area of a map's classes from a stratified random sample of its pixels.

The estimators are those of Olofsson et al. 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, 42-57, doi 10.1016/j.rse.2014.02.015.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.ops.scores import ratio

Z95 = 1.96
"""Standard errors on each side of a 95 % confidence interval."""

FEWEST = 2
"""Points that a stratum needs for a variance."""

ByClass = Float64[np.ndarray, " k"]


class Estimate(NamedTuple):
    """Accuracies and shares of area with their standard errors, in the order of the classes.

    User's accuracy is NaN for a class that is not mapped, producer's accuracy for one that no point
    has as reference.

    Attributes:
        proportions: Share of the mapped area by (mapped, reference) class (eq. 4).
        overall: Overall accuracy (eq. 1), and its standard error (root of eq. 5).
        users: User's accuracy of each class (eq. 2).
        users_error: Its standard error (root of eq. 6).
        producers: Producer's accuracy of each class (eq. 3).
        producers_error: Its standard error (root of eq. 7).
        shares: Share of the area that each class truly has (eq. 9).
        shares_error: Its standard error (eq. 10).
    """

    proportions: Float64[np.ndarray, "k k"]
    overall: tuple[float, float]
    users: ByClass
    users_error: ByClass
    producers: ByClass
    producers_error: ByClass
    shares: ByClass
    shares_error: ByClass


class ClassArea(Frozen):
    """One class of a map; None where the sample says nothing.

    Attributes:
        value: Its value.
        name: Its name.
        points: Number of points in its stratum.
        mapped_ha: Hectares by counting pixels.
        adjusted_ha: Hectares by the sample, without the bias of the map's errors.
        standard_error_ha: Standard error of these.
        interval_ha: Half the width of their 95 % confidence interval.
        users: User's accuracy.
        users_error: Its standard error.
        producers: Producer's accuracy.
        producers_error: Its standard error.
    """

    value: int
    name: str
    points: int
    mapped_ha: float
    adjusted_ha: float
    standard_error_ha: float
    interval_ha: float
    users: float | None
    users_error: float | None
    producers: float | None
    producers_error: float | None


class AreaAssessment(Frozen):
    """How accurate a map is and how much of each class there truly is.

    Attributes:
        map: Digest of the map's plan.
        seed: Seed of the sample.
        legend: The classes, in the order of rows and columns.
        points: Number of points with a reference.
        missing: Number of points of the sample without one.
        matrix: Points by (mapped, reference) class.
        proportions: Share of the mapped area by (mapped, reference) class.
        overall: Overall accuracy.
        overall_error: Its standard error.
        hectares: Mapped area.
        classes: One entry a class.
    """

    map: str
    seed: int
    legend: Legend
    points: int
    missing: int
    matrix: tuple[tuple[int, ...], ...]
    proportions: tuple[tuple[float, ...], ...]
    overall: float
    overall_error: float
    hectares: float
    classes: tuple[ClassArea, ...]


def thin_strata(
    matrix: Int64[np.ndarray, "k k"], pixels: Int64[np.ndarray, " k"]
) -> Bool[np.ndarray, " k"]:
    """Return which strata have too few points for `estimate`: under two, and not all pixels."""
    counts = matrix.sum(axis=1)
    return np.asarray((pixels > counts) & (counts < FEWEST))


def estimate(
    matrix: Int64[np.ndarray, "k k"],
    areas: ByClass,
    pixels: Int64[np.ndarray, " k"] | None = None,
) -> Estimate:
    """Estimate accuracies and shares of area.

    Args:
        matrix: Points by (mapped, reference) class; the strata are the mapped classes. A stratum
            with an area has two points or more, or all of its pixels.
        areas: Area of each stratum, in any unit.
        pixels: Number of pixels of each stratum, for the finite population correction 1 - n/N
            (Cochran 1977, eq. 2.9), which the paper leaves out; None leaves it out too.
    """
    counts = matrix.sum(axis=1)
    weights = areas / areas.sum()
    within = matrix / np.maximum(counts, 1)[:, None]
    proportions = weights[:, None] * within
    # Variance of a mean of zeros and ones in each stratum, for each class (a summand of eq. 10).
    unseen = _unseen(counts, pixels)[:, None]
    variance = unseen * within * (1 - within) / np.maximum(counts - 1, 1)[:, None]
    shares, hits = proportions.sum(axis=0), np.diag(proportions)
    users = np.where(counts > 0, np.diag(within), np.nan)
    producers = ratio(hits, shares)
    overall_variance = (weights**2 * np.diag(variance)).sum()
    return Estimate(
        proportions=proportions,
        overall=(float(hits.sum()), float(np.sqrt(overall_variance))),
        users=users,
        users_error=np.where(counts > 0, np.sqrt(np.diag(variance)), np.nan),
        producers=producers,
        producers_error=_producers_error(weights, variance, shares, producers),
        shares=shares,
        shares_error=np.sqrt((weights[:, None] ** 2 * variance).sum(axis=0)),
    )


def _unseen(counts: Int64[np.ndarray, " k"], pixels: Int64[np.ndarray, " k"] | None) -> ByClass:
    if pixels is None:
        return np.ones(counts.shape, np.float64)
    return np.asarray(1 - counts / np.maximum(pixels, 1), np.float64)


def _producers_error(
    weights: ByClass, variance: Float64[np.ndarray, "k k"], shares: ByClass, producers: ByClass
) -> ByClass:
    """Return the root of equation 7, with areas as shares of the whole."""
    parts = weights[:, None] ** 2 * variance
    own = np.diag(parts) * (1 - producers) ** 2
    others = producers**2 * (parts.sum(axis=0) - np.diag(parts))
    return ratio(np.sqrt(own + others), shares)
