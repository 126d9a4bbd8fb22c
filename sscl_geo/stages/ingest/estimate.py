"""What an ingest will need, told before it runs: bytes, time, memory."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Window
from sscl_geo.geo.period import Period
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.ops.compositors import compositor_of
from sscl_geo.stages.ingest.grouping import coverage, observations
from sscl_geo.stages.ingest.optical import parts
from sscl_geo.stages.ingest.request import IngestUnit, Method

READ_SHARE = 0.6
"""Compressed bytes of a scene's file per byte of its pixels: 12 deflated Sentinel-2 COGs."""

WRITE_SHARE = 0.53
"""The same for a shard of composites, blosc zstd-3 with shuffle."""

PROCESS_BYTES = 300 * 2**20
"""What a worker holds before it reads a pixel: Python and its libraries."""

FLOAT_BYTES = 4


class Estimate(NamedTuple):
    """What an ingest needs.

    Attributes:
        periods: The cube's periods, in order.
        units: Number of units, those without a scene included.
        empty: Number of units without a scene.
        scenes: Number of scenes, each counted once.
        read_bytes: Bytes to fetch.
        write_bytes: Bytes that the cube will take.
    """

    periods: tuple[Period, ...]
    units: int
    empty: int
    scenes: int
    read_bytes: int
    write_bytes: int

    def seconds(self, megabytes_per_second: float, workers: int) -> float:
        """Return the time at a rate of reading and decoding per worker."""
        return self.read_bytes / 1e6 / megabytes_per_second / workers


def estimated(spec: CubeSpec, planned: Sequence[IngestUnit]) -> Estimate:
    """Return what units will read and write; overlaps are told from footprints."""
    read = write = 0.0
    for unit in planned:
        for sensor in spec.sensors:
            scenes = [scene for scene in unit.scenes if scene.sensor == sensor.name]
            shares = sum(coverage([scene], unit.box) for scene in scenes)
            read += READ_SHARE * shares * _file_bytes(sensor, unit.window)
            write += WRITE_SHARE * bool(scenes) * _pixel_bytes(sensor, unit.window)
    return Estimate(
        periods=spec.periods,
        units=len(planned),
        empty=sum(not unit.scenes for unit in planned),
        scenes=len({scene.id for unit in planned for scene in unit.scenes}),
        read_bytes=round(read),
        write_bytes=round(write),
    )


DayCount = Callable[[IngestUnit, Sensor], int]


def scene_days(unit: IngestUnit, sensor: Sensor) -> int:
    """Return on how many days the scenes of a unit show a sensor."""
    scenes = [scene for scene in unit.scenes if scene.sensor == sensor.name]
    return len(observations(scenes, unit.box.middle_longitude))


def unit_bytes(
    spec: CubeSpec, planned: Sequence[IngestUnit], method: Method, count: DayCount = scene_days
) -> int:
    """Return the most bytes that a worker holds for one unit, of whose days `count` tells."""
    needs = (_unit_bytes(spec, unit, method, count) for unit in planned)
    return PROCESS_BYTES + max(needs, default=0)


def _unit_bytes(spec: CubeSpec, unit: IngestUnit, method: Method, count: DayCount) -> int:
    needs = []
    for sensor in spec.sensors:
        days = count(unit, sensor)
        made = 2 * _pixel_bytes(sensor, unit.window)
        needs.append(made + (_stack_bytes(sensor, unit, days, method) if days else 0))
    return round(max(needs, default=0))


def _stack_bytes(sensor: Sensor, unit: IngestUnit, days: int, method: Method) -> float:
    if sensor.kind == "sar":
        # Running sum and count in float64 and uint32, and an image with its masks.
        return unit.window.height * unit.window.width * (12 + 3 * FLOAT_BYTES)
    compositor = compositor_of(method.compositor)
    bands = len(sensor.bands) if compositor.JOINT else 1
    part = next(parts(unit.window, days, compositor.JOINT))
    # Each sample is two bytes; per day and pixel come masks, and one more image is being read.
    return part.height * part.width * (days * (2 * bands + 2) + 3 * FLOAT_BYTES)


def _pixel_bytes(sensor: Sensor, window: Window) -> float:
    size = np.dtype(sensor.dtype).itemsize
    return sum(
        size * len(bands) * _pixels(window, GROUP_GSD[g]) for g, bands in sensor.groups.items()
    )


def _file_bytes(sensor: Sensor, window: Window) -> float:
    size = FLOAT_BYTES if sensor.kind == "sar" else np.dtype(sensor.dtype).itemsize
    masks = _pixels(window, 20) if sensor.kind == "optical" else 0.0
    return masks + sum(size * _pixels(window, band.gsd) for band in sensor.bands)


def _pixels(window: Window, gsd: int) -> float:
    return window.height * window.width * (10 / gsd) ** 2
