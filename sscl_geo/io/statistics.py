"""Means and spreads of imagery, for the inputs of a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.cube import BandSource
from sscl_geo.geo.inputs import BandInput, ReflectanceScale, limits, log_offset
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.fields import ROWS, Imagery, decoded, gsd
from sscl_geo.ops.statistics import Moments, moments
from sscl_geo.sensors import sensor_of


def measured_inputs(
    imageries: Sequence[Imagery],
    periods: int,
    inputs: Sequence[str],
    cache: Path,
    reflectance: ReflectanceScale,
) -> tuple[BandInput, ...]:
    """Return bands of a sample of the first imagery with their statistics over all.

    Args:
        imageries: At least one cube or store of chips; the others must have the bands of the first.
        periods: Number of consecutive periods of a sample.
        inputs: Sensors, or bands such as `sentinel2_l2a:B02`, in any order; all if empty.
        cache: Folder for decoded arrays.
        reflectance: Whether optical bands enter as numbers or as logarithms.

    Raises:
        InvalidInputError: A band or sensor is absent, or a band has no observation anywhere.
    """
    bands = chosen_bands(imageries[0], periods, inputs)
    totals = dict.fromkeys((band.name for band in bands), Moments())
    for imagery in imageries:
        places = imagery.wanted([band.name for band in bands])
        for piece in decoded(imagery, places, cache):
            for band in bands:
                plane = piece.arrays[band.place.key][places[band.place.key].index(band.index)]
                totals[band.name] += _moments(plane, sensor_of(band.name), reflectance)
    for band in bands:
        if totals[band.name].samples == 0:
            raise InvalidInputError(
                f"band {band.name} has no observation anywhere; leave it out of the study's "
                "`inputs`, or ingest a longer time"
            )
    entering = unmeasured_inputs(imageries[0], periods, inputs, reflectance)
    return tuple(
        band.replace(mean=totals[band.name].mean, spread=totals[band.name].spread)
        for band in entering
    )


def unmeasured_inputs(
    imagery: Imagery, periods: int, inputs: Sequence[str], reflectance: ReflectanceScale
) -> tuple[BandInput, ...]:
    """Return bands of a sample with a mean of 0 and a spread of 1, which nobody measured.

    Raises:
        InvalidInputError: A band or sensor is absent.
    """
    return tuple(
        _input(band, gsd(imagery, band), reflectance)
        for band in chosen_bands(imagery, periods, inputs)
    )


def chosen_bands(imagery: Imagery, periods: int, inputs: Sequence[str]) -> tuple[BandSource, ...]:
    """Return the bands of a sample that a study's inputs name, in stored order.

    Raises:
        InvalidInputError: An input names neither a band nor a sensor of the imagery.
    """
    bands = imagery.bands(periods)
    of_one_period = {band.name.split("@")[0] for band in bands}
    known = of_one_period | {band.sensor for band in bands}
    unknown = [name for name in inputs if name not in known]
    if unknown:
        raise InvalidInputError(
            f"inputs {', '.join(unknown)}: choose among {', '.join(sorted(known))}"
        )
    wanted = {*inputs}
    return tuple(
        band
        for band in bands
        if not wanted or band.sensor in wanted or band.name.split("@")[0] in wanted
    )


def _moments(plane: np.ndarray, sensor: Sensor, reflectance: ReflectanceScale) -> Moments:
    total, (low, high), offset = Moments(), limits(sensor), log_offset(sensor, reflectance)
    for top in range(0, len(plane), ROWS):
        stored = plane[top : top + ROWS]
        entering = np.clip(stored.astype(np.float32), low, high)
        if offset is not None:
            entering = np.log(entering - low + offset)
        total += moments(np.where(stored == sensor.nodata, np.float32(np.nan), entering))
    return total


def _input(band: BandSource, gsd: int, reflectance: ReflectanceScale) -> BandInput:
    sensor = sensor_of(band.name)
    low, high = limits(sensor)
    return BandInput(
        name=band.name,
        array=band.place.key,
        gsd=gsd,
        nodata=sensor.nodata,
        low=low,
        high=high,
        log_offset=log_offset(sensor, reflectance),
        mean=0,
        spread=1,
    )
