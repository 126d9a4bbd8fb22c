"""How a band enters a network."""

from pydantic import Field

from sscl_geo.frozen import Frozen
from sscl_geo.geo.sensor import Sensor

LIMITS = {"optical": (1000.0, 11000.0), "sar": (-2500.0, 0.0)}
"""Stored numbers outside are clipped: reflectance 0..1, backscatter -25..0 dB (the usual choice for
SEN12MS and DFC2020; Schmitt et al. 2019)."""


class BandInput(Frozen):
    """One band as a network takes it, in stored numbers (canonical DN, hundredths of a dB).

    Attributes:
        name: Sensor and band, such as `sentinel2_l2a:B02`, with `@1` one period later; cubes are
            matched by it.
        array: Key of the place that holds it, such as `r20m/s2`, or `r20m/s2@1` one period later.
        gsd: Ground sampling distance of that array in metres.
        nodata: Stored value of no observation.
        low: Smaller numbers are raised to it.
        high: Larger numbers are lowered to it.
        mean: Mean of the clipped numbers over the pretraining cubes.
        spread: Their standard deviation.
    """

    name: str
    array: str
    gsd: int
    nodata: int
    low: float
    high: float
    mean: float
    spread: float = Field(gt=0)


def limits(sensor: Sensor) -> tuple[float, float]:
    """Return the stored numbers between which a sensor's bands are clipped."""
    return LIMITS[sensor.kind]
