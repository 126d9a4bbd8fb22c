"""Stored numbers and physical quantities."""

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt16

from sscl_geo.geo.sensor import Sensor

CENTIDECIBELS_PER_DECADE = 1000.0
"""Hundredths of a dB in a factor of ten of power."""

LOWEST, HIGHEST = -32767, 32767


def harmonised(dn: UInt16[np.ndarray, "*shape"], harmonise: int) -> UInt16[np.ndarray, "*shape"]:
    """Return canonical DN = reflectance x 10000 + 1000, nodata 0.

    Args:
        dn: Sentinel-2 digital numbers, nodata 0.
        harmonise: What to add to a valid number: 0 where the producer added 1000, else 1000.

    The sum saturates at 65535.
    """
    if harmonise == 0:
        return dn
    raised = np.minimum(dn, np.uint16(65535 - harmonise))
    raised += np.uint16(harmonise)
    raised *= dn != 0
    return np.asarray(raised)


def is_power(power: Float32[np.ndarray, "*shape"], nodata: float) -> Bool[np.ndarray, "*shape"]:
    """Return where a backscatter sample is an observation: finite, above zero and not nodata."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(power) & (power > 0) & (power != np.float32(nodata)))


def centidecibel(power: Float32[np.ndarray, "*shape"], nodata: int) -> Int16[np.ndarray, "*shape"]:
    """Return linear power as hundredths of a dB; NaN becomes `nodata`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hundredths = np.rint(np.log10(power.astype(np.float64)) * CENTIDECIBELS_PER_DECADE)
    kept = np.clip(hundredths, LOWEST, HIGHEST)
    return np.where(np.isnan(kept), nodata, kept).astype(np.int16)


def linear(stored: Int16[np.ndarray, "*shape"], nodata: int) -> Float32[np.ndarray, "*shape"]:
    """Return hundredths of a dB as linear power; `nodata` becomes NaN."""
    power = np.power(10.0, stored / CENTIDECIBELS_PER_DECADE).astype(np.float32)
    return np.where(stored == nodata, np.float32(np.nan), power)


def physical(
    stored: UInt16[np.ndarray, "*shape"] | Int16[np.ndarray, "*shape"], sensor: Sensor
) -> Float32[np.ndarray, "*shape"]:
    """Return stored numbers in the sensor's units; nodata becomes NaN."""
    values = stored.astype(np.float32) * np.float32(sensor.scale) + np.float32(sensor.offset)
    return np.where(stored == sensor.nodata, np.float32(np.nan), values)
