"""The arrays that one unit of ingest makes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from sscl_geo.geo.grid import Window
from sscl_geo.geo.sensor import GROUP_GSD, Sensor


class Layers(NamedTuple):
    """What scenes of one sensor become.

    Attributes:
        pixels: `(band, y, x)` of each cube group.
        counts: Arrays at 10 m by name: `n_valid`, the number of valid observations, and for optical
            sensors `doy`, the day of year (0 where there is none).
        masks: Mask bits by cube group, for days that are kept unmasked.
    """

    pixels: dict[str, Shaped[np.ndarray, "_ _ _"]]
    counts: dict[str, Shaped[np.ndarray, "y x"]]
    masks: dict[str, UInt8[np.ndarray, "_ _"]]

    def inside(self, window: Window) -> "Layers":
        """Return a view of a window, given at 10 m from the layers' first pixel."""
        pixels = {
            group: data[:, *window.at(GROUP_GSD[group]).slices]
            for group, data in self.pixels.items()
        }
        return Layers(pixels, {name: data[window.slices] for name, data in self.counts.items()}, {})


def empty(sensor: Sensor, window: Window) -> Layers:
    """Return the layers of a window, given at 10 m, without any observation."""
    pixels = {
        group: np.full((len(bands), *window.at(GROUP_GSD[group])[2:]), sensor.nodata, sensor.dtype)
        for group, bands in sensor.groups.items()
    }
    counts: dict[str, np.ndarray] = {"n_valid": np.zeros(window[2:], np.uint8)}
    if sensor.kind == "optical":
        counts["doy"] = np.zeros(window[2:], np.uint16)
    return Layers(pixels, counts, {})
