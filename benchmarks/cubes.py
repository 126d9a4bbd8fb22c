"""A cube with as much texture as real scenes, and a network on all its bands."""

from datetime import date
from pathlib import Path

import numpy as np

from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.inputs import BandInput
from sscl_geo.geo.period import Period
from sscl_geo.io.cubes import Cube
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.sensors import sentinel1_rtc, sentinel2_l2a

SENSORS = (sentinel2_l2a.SENSOR, sentinel1_rtc.SENSOR)


def write_cube(path: Path, side: int, tile_px: int) -> Cube:
    """Write a square cube of one period, tile by tile."""
    grid = Grid(crs="EPSG:32633", origin=(499980, 5400000), shape=(side, side), tile_px=tile_px)
    period = Period(start=date(2024, 1, 1), end=date(2024, 4, 1))
    spec = CubeSpec(grids=(grid,), periods=(period,), sensors=SENSORS)
    plan = Plan(
        kind="cube", stage_version=1, arguments={}, content={"spec": spec.model_dump(mode="json")}
    )
    store = Store.create(path, plan, cube_layout(spec, {}), {})
    random = np.random.default_rng(0)
    for tile in grid.tiles:
        window = grid.window(tile)
        for sensor in SENSORS:
            count = np.full((window.height, window.width), 3, np.uint8)
            store.write(f"{grid.zone}/r10m/n_valid_{sensor.array}", (0,), window, count)
            for group, bands in sensor.groups.items():
                inner = window.at(10 if group == "r10m" else 20)
                shape = -(-inner.height // 32), -(-inner.width // 32)
                smooth = np.kron(random.normal(3000, 500, shape), np.ones((32, 32)))
                noise = random.normal(0, 40, (len(bands), inner.height, inner.width))
                data = smooth[: inner.height, : inner.width] + noise
                pixels = data.clip(1, 30000).astype(sensor.dtype)
                store.write(f"{grid.zone}/{group}/{sensor.array}", (0,), inner, pixels)
    store.put(TILES, records_table([{"key": tile.key} for tile in grid.tiles]))
    return Cube.open(path)


def network(cube: Cube, width: int = 16) -> NetworkSpec:
    """Return a network on all bands."""
    bands = tuple(
        BandInput(
            name=source.name, array=source.place.key, gsd=source.place.gsd,
            nodata=0 if source.sensor == "sentinel2_l2a" else -32768,
            low=0.0, high=10000.0, mean=3000.0, spread=500.0,
        )
        for source in cube.bands()
    )  # fmt: skip
    backbone = BackboneSpec(depth=18, width=width, rates=(2, 4, 6), context_width=64)
    return NetworkSpec(bands=bands, features=FeatureSpec(layers=2, width=4), backbone=backbone)
