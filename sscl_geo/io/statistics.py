"""Means and spreads of cubes, for the inputs of a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.cube import BandSource
from sscl_geo.geo.inputs import BandInput, limits
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.cubes import Cube
from sscl_geo.io.fields import ROWS, decoded
from sscl_geo.ops.statistics import Moments, moments


def measured_inputs(cubes: Sequence[Cube], periods: int, cache: Path) -> tuple[BandInput, ...]:
    """Return every band of a sample of the first cube with its statistics over all cubes.

    Args:
        cubes: At least one; the others must have the bands of the first.
        periods: Number of consecutive periods of a sample.
        cache: Folder for decoded arrays.

    Raises:
        InvalidInputError: A cube lacks a band, or a band has no observation in any cube.
    """
    bands = cubes[0].bands(periods)
    totals = dict.fromkeys((band.name for band in bands), Moments())
    for cube in cubes:
        places = cube.wanted([band.name for band in bands])
        for piece in decoded(cube, places, cache):
            for band in bands:
                plane = piece.arrays[band.place.key][places[band.place.key].index(band.index)]
                totals[band.name] += _moments(plane, _sensor(band))
    return tuple(_input(band, totals[band.name]) for band in bands)


def _sensor(band: BandSource) -> Sensor:
    sensor: Sensor = plugins.find("sscl_geo.sensors", band.sensor).SENSOR
    return sensor


def _moments(plane: np.ndarray, sensor: Sensor) -> Moments:
    total = Moments()
    for top in range(0, len(plane), ROWS):
        stored = plane[top : top + ROWS]
        clipped = np.clip(stored.astype(np.float32), *limits(sensor))
        total += moments(np.where(stored == sensor.nodata, np.float32(np.nan), clipped))
    return total


def _input(band: BandSource, total: Moments) -> BandInput:
    if total.samples == 0:
        raise InvalidInputError(
            f"band {band.name} has no observation in any cube; leave it out at ingest, or "
            "widen the cube's time"
        )
    sensor = _sensor(band)
    low, high = limits(sensor)
    return BandInput(
        name=band.name,
        array=band.place.key,
        gsd=band.place.gsd,
        nodata=sensor.nodata,
        low=low,
        high=high,
        mean=total.mean,
        spread=total.spread,
    )
