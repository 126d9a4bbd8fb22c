"""How a band enters a network."""

from typing import Literal

from pydantic import Field

from sscl_geo.frozen import Frozen
from sscl_geo.geo.sensor import Sensor

LARGEST_SCORE = 5.0
"""What enters a network is clipped to this many standard deviations."""

LIMITS = {"optical": (1000.0, 11000.0), "sar": (-2500.0, 0.0)}
"""Stored numbers outside are clipped: reflectance 0..1, backscatter -25..0 dB (the usual choice for
SEN12MS and DFC2020; Schmitt et al. 2019)."""

ReflectanceScale = Literal["linear", "log"]

LOG_OFFSET = 100.0
"""Added to reflectance before its logarithm, in stored numbers: 0.01. The accuracy asked of surface
reflectance is 0.005 + 0.05 of it (Vermote and Kotchenova 2008), so that smaller ones are noise."""


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
        log_offset: If given, not the clipped number enters, but the natural logarithm of what it is
            above `low` plus this.
        mean: Mean of what enters over the pretraining cubes.
        spread: Their standard deviation.
    """

    name: str
    array: str
    gsd: int
    nodata: int
    low: float
    high: float
    log_offset: float | None = Field(default=None, gt=0)
    mean: float
    spread: float = Field(gt=0)


def limits(sensor: Sensor) -> tuple[float, float]:
    """Return the stored numbers between which a sensor's bands are clipped."""
    return LIMITS[sensor.kind]


def log_offset(sensor: Sensor, reflectance: ReflectanceScale) -> float | None:
    """Return a band's `log_offset`; backscatter is stored in dB, which is a logarithm already."""
    return LOG_OFFSET if sensor.kind == "optical" and reflectance == "log" else None
