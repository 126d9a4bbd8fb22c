"""Sentinel-1 over one tile and period: the mean of its days in linear power."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.observations import power
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.ops.power import PowerMean
from sscl_geo.ops.scaling import centidecibel
from sscl_geo.ops.swath import SwathSpec, trimmed
from sscl_geo.stages.ingest.layers import Layers, empty
from sscl_geo.stages.ingest.view import View


def radar(
    reader: GeoTiffReader,
    grid: Grid,
    window: Window,
    sensor: Sensor,
    days: Sequence[Sequence[Scene]],
    swath: SwathSpec,
) -> Layers:
    """Average a sensor's days over a tile, after cleaning the edges of their swaths.

    Raises:
        SceneError: A scene could not be read.
    """
    view, made = View(reader, grid, window), empty(sensor, window)
    counts = []
    for index, band in enumerate(sensor.bands):
        mean = PowerMean(window.height, window.width)
        for day in days:
            mean.add(_cleaned(view, day, band.name, swath))
        made.pixels["r10m"][index] = centidecibel(mean.mean, sensor.nodata)
        counts.append(mean.count)
    made.counts["n_valid"][...] = np.minimum.reduce(counts)
    return made


def _cleaned(
    view: View, day: Sequence[Scene], band: str, swath: SwathSpec
) -> Float32[np.ndarray, "y x"]:
    margin = swath.reach
    block = view.block(10, margin)
    samples = view.mosaic(day, power(band), np.nan, block)
    samples[~trimmed(~np.isnan(samples), swath)] = np.nan
    inner = slice(margin, -margin or None)
    return samples[inner, inner]
