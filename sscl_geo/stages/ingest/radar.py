"""Sentinel-1 over one tile and period: the mean of its days in linear power."""

import numpy as np

from sscl_geo.geo.grid import Window
from sscl_geo.geo.sensor import Sensor
from sscl_geo.ops.power import PowerMean
from sscl_geo.ops.scaling import centidecibel
from sscl_geo.stages.ingest.days import Days
from sscl_geo.stages.ingest.layers import Layers, empty


def radar(days: Days, window: Window, sensor: Sensor) -> Layers:
    """Average a sensor's days over a tile.

    Raises:
        SceneError: A scene could not be read.
    """
    made = empty(sensor, window)
    counts = []
    for index, band in enumerate(sensor.bands):
        mean = PowerMean(window.height, window.width)
        for day in range(len(days.dates)):
            mean.add(days.power(window, band, day))
        made.pixels["r10m"][index] = centidecibel(mean.mean, sensor.nodata)
        counts.append(mean.count)
    made.counts["n_valid"][...] = np.minimum.reduce(counts)
    return made
