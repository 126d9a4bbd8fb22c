"""How good an observation is, for compositors that weigh them.

Best-available-pixel scores of Griffiths et al. 2013, "A pixel-based Landsat compositing algorithm
for large area land cover mapping", IEEE JSTARS 6(5), with the constants of White et al. 2014,
"Pixel-based image compositing for large-area dense time series applications and science", Canadian
Journal of Remote Sensing 40(3): distance to cloud and day of the year. Here they are multiplied,
not added, so that one cannot make up for the other.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import PositiveFloat
from scipy import ndimage

from sscl_geo.frozen import Frozen

SIGMOID_M = 30.0
"""The sigmoid is told in Landsat pixels."""

SLOPE = 0.2


class QualitySpec(Frozen):
    """What makes an observation good.

    Attributes:
        gsd_m: Pixel size in metres.
        far_m: Distance in metres from which hidden ground no longer matters (50 Landsat pixels).
        spread_days: Standard deviation of the date's score in days.
    """

    gsd_m: PositiveFloat = 20.0
    far_m: PositiveFloat = 1500.0
    spread_days: PositiveFloat = 30.0

    @property
    def reach(self) -> int:
        """How far from a pixel, in pixels, another can lie that decides its quality."""
        return math.ceil(self.far_m / self.gsd_m)


def quality(
    is_seen: Bool[np.ndarray, "time y x"], days: Sequence[float], spec: QualitySpec
) -> UInt8[np.ndarray, "time y x"]:
    """Return the weight of each observation: 0 where hidden, else from 1 to 255 for the best.

    Args:
        is_seen: Where the ground was seen; missing pixels count as hidden.
        days: Of each time, the days from the middle of the period.
        spec: What makes an observation good.

    Pixels at least `spec.reach` from the edge do not depend on where the edge is.
    """
    weights = np.zeros(is_seen.shape, np.uint8)
    for seen, day, weight in zip(is_seen, days, weights, strict=True):
        score = distance_score(seen, spec) * date_score(day, spec)
        np.copyto(weight, np.rint(1 + 254 * score).astype(np.uint8), where=seen)
    return weights


def distance_score(
    is_seen: Bool[np.ndarray, "y x"], spec: QualitySpec
) -> Float32[np.ndarray, "y x"]:
    """Return the score of the distance to hidden ground: a sigmoid from 0.01 to 0.99.

    1 / (1 + exp(-0.2 (min(D, far) - far / 2))), with distances in Landsat pixels of 30 m.
    """
    if is_seen.all():
        distance = np.full(is_seen.shape, spec.far_m)
    else:
        distance = np.minimum(ndimage.distance_transform_edt(is_seen) * spec.gsd_m, spec.far_m)
    middle = (distance - spec.far_m / 2) / SIGMOID_M
    return (1 / (1 + np.exp(-SLOPE * middle))).astype(np.float32)


def date_score(days: float, spec: QualitySpec) -> float:
    """Return the score of a date: 1 in the middle of the period, falling off as a Gaussian."""
    return math.exp(-0.5 * (days / spec.spread_days) ** 2)
