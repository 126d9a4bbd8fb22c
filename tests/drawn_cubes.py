"""Cubes of two periods whose every pixel is noise, but for a blind spot."""

from datetime import date
from pathlib import Path

import numpy as np

from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.period import Period
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.sensors import sentinel1_rtc, sentinel2_l2a

SENSORS = (sentinel2_l2a.SENSOR, sentinel1_rtc.SENSOR)
PERIODS = tuple(
    Period(start=date(2024, month, 1), end=date(2024, month + 1, 1)) for month in (4, 5)
)


def draw_cube(
    path: Path,
    grids: tuple[Grid, ...],
    blind: Window,
    *,
    blind_periods: int = 1,
    is_daily: bool = False,
) -> None:
    """Write a cube of all bands of both sensors, which see nothing in `blind` for some periods."""
    spec = CubeSpec(grids=grids, periods=PERIODS, sensors=SENSORS, is_daily=is_daily)
    content = {"spec": spec.model_dump(mode="json")}
    plan = Plan(kind="cube", stage_version=1, arguments={}, content=content)
    store = Store.create(path, plan, cube_layout(spec, {}), {})
    random = np.random.default_rng(0)
    for grid, time in ((grid, time) for grid in grids for time in range(len(PERIODS))):
        for sensor in SENSORS:
            seen = np.ones(grid.shape, np.uint8)
            seen[blind.slices] = time >= blind_periods
            for group, bands in sensor.groups.items():
                window = Window(0, 0, *grid.shape).at(10 if group == "r10m" else 20)
                pixels = random.integers(1, 9000, (len(bands), window.height, window.width))
                step = grid.shape[0] // window.height
                pixels[:, seen[::step, ::step] == 0] = sensor.nodata
                name = f"{grid.zone}/{group}/{sensor.array}"
                store.write(name, (time,), window, pixels.astype(sensor.dtype))
            name = f"{grid.zone}/r10m/n_valid_{sensor.array}"
            store.write(name, (time,), Window(0, 0, *grid.shape), seen)
    store.put(TILES, records_table([{"key": tile.key} for grid in grids for tile in grid.tiles]))
