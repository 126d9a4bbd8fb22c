from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives xarray its `rio`
import xarray as xr

from sscl_geo import plugins
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.geo.period import parse_interval, split
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.layout import Layout, cube_layout
from sscl_geo.io.maps import map_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store

SENSORS: tuple[Sensor, ...] = tuple(
    plugins.find("sscl_geo.sensors", name).SENSOR for name in ("sentinel2_l2a", "sentinel1_rtc")
)
GRIDS = (
    Grid(crs="EPSG:32632", origin=(700020, 5800020), shape=(300, 264), tile_px=256),
    Grid(crs="EPSG:32633", origin=(300000, 5800020), shape=(60, 66), tile_px=256),
)
SPEC = CubeSpec(
    grids=GRIDS,
    periods=split(parse_interval("2024-01-01/2024-12-31"), "P6M"),
    sensors=SENSORS,
)
LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=4, name="Snow/Ice and rock", color="#FFFFFF"),
        LandClass(value=2, name="Water", color="#0000ff"),
    ),
)


def stored(path: Path, kind: str, layout: Layout) -> Store:
    return Store.create(path, Plan(kind=kind, stage_version=1, arguments={}), layout, {})


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "cube.zarr"
    store = stored(path, "cube", cube_layout(SPEC, {"title": "toy", "license": "none"}))
    dn = np.full((4, 256, 256), 1500, np.uint16)
    dn[:, 0, 0] = 0
    store.write("epsg32632/r10m/s2", (1,), Window(0, 0, 256, 256), dn)
    decibel = np.full((2, 256, 256), -1234, np.int16)
    store.write("epsg32632/r10m/s1", (0,), Window(0, 0, 256, 256), decibel)
    return path


@pytest.fixture(scope="module")
def landcover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "map.zarr"
    store = stored(path, "map", map_layout(GRIDS, LEGEND, {"title": "toy"}))
    store.write(
        "epsg32632/r10m/landcover", (), Window(0, 0, 256, 256), np.full((256, 256), 4, np.uint8)
    )
    levels = np.full((256, 256), 150, np.uint8)
    store.write("epsg32632/r10m/confidence", (), Window(0, 0, 256, 256), levels)
    return path


def test_a_cube_opens_as_quantities_with_nan_where_nothing_was_seen(cube: Path) -> None:
    dataset = xr.open_zarr(cube, group="epsg32632/r10m", decode_coords="all", chunks=None)
    pixels = dataset["s2"]
    assert pixels.dims == ("time", "band_s2", "y", "x")
    assert pixels.sel(band_s2="B08").isel(time=1, y=5, x=5).item() == pytest.approx(0.05)
    assert np.isnan(pixels.isel(time=1, y=0, x=0)).all()
    assert np.isnan(pixels.isel(time=0)).all()
    assert dataset["s1"].isel(time=0, y=5, x=5).values == pytest.approx([-12.34, -12.34])
    assert (pixels.attrs["units"], dataset["s1"].attrs["units"]) == ("1", "dB")
    assert dataset["n_valid_s2"].dtype == np.uint8
    assert dataset["band_s2"].values.tolist() == ["B02", "B03", "B04", "B08"]


# rioxarray 0.19 multiplies transforms in affine's old way.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.zone)
@pytest.mark.parametrize(("group", "gsd"), [("r10m", 10), ("r20m", 20)])
def test_every_group_of_a_cube_knows_where_it_lies(
    cube: Path, grid: Grid, group: str, gsd: int
) -> None:
    dataset = xr.open_zarr(cube, group=f"{grid.zone}/{group}", decode_coords="all", chunks=None)
    assert dataset.rio.crs == grid.crs
    assert dataset["s2"].rio.crs == grid.crs
    assert dataset.rio.bounds() == grid.bounds
    assert dataset.rio.resolution() == (gsd, -gsd)
    assert dataset.rio.transform() == grid.block(Window(0, 0, 1, 1), gsd).transform
    assert dataset.sizes["y"] * gsd == grid.shape[0] * 10
    assert dataset["x"].attrs["standard_name"] == "projection_x_coordinate"
    left, _, _, top = grid.bounds
    assert (dataset["x"].values[0], dataset["y"].values[0]) == (left + gsd / 2, top - gsd / 2)


def test_the_time_of_a_cube_is_the_first_day_of_each_period(cube: Path) -> None:
    dataset = xr.open_zarr(cube, group="epsg32633/r20m", chunks=None)
    assert dataset["time"].values.astype("datetime64[D]").astype(str).tolist() == [
        "2024-01-01",
        "2024-07-01",
    ]
    assert dataset["time"].attrs["bounds"] == "time_bounds"
    assert dataset["time_bounds"].values.astype("datetime64[D]").astype(str).tolist() == [
        ["2024-01-01", "2024-07-01"],
        ["2024-07-01", "2025-01-01"],
    ]


def test_a_cube_opens_as_a_tree(cube: Path) -> None:
    with xr.open_datatree(cube, engine="zarr", chunks=None, decode_coords="all") as tree:
        assert tree.attrs["Conventions"] == "CF-1.11"
        assert set(tree.children) == {grid.zone for grid in GRIDS}
        assert tree["epsg32632/r10m"].ds["s2"].shape == (2, 4, 300, 264)
        assert tree["epsg32632/r20m"].ds["s2"].shape == (2, 8, 150, 132)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_map_opens_as_classes_with_their_meanings(landcover: Path) -> None:
    dataset = xr.open_zarr(landcover, group="epsg32632/r10m", decode_coords="all", chunks=None)
    classes = dataset["landcover"]
    assert classes.dtype == np.uint8
    assert classes.isel(y=5, x=5).item() == 4
    assert classes.isel(y=299, x=263).item() == 0
    meanings = classes.attrs["flag_meanings"].split()
    assert meanings == ["unlabelled", "snow_ice_and_rock", "water"]
    assert list(classes.attrs["flag_values"]) == [0, 4, 2]
    assert classes.attrs["flag_colors"].split() == ["#000000", "#ffffff", "#0000ff"]
    assert classes.rio.crs == "EPSG:32632"
    assert classes.rio.bounds() == GRIDS[0].bounds


def test_the_confidence_of_a_map_is_a_probability(landcover: Path) -> None:
    dataset = xr.open_zarr(landcover, group="epsg32632/r10m", chunks=None)
    confidence = dataset["confidence"]
    assert confidence.isel(y=5, x=5).item() == pytest.approx(0.75)
    assert np.isnan(confidence.isel(y=299, x=263).item())


def test_a_map_opens_as_a_tree(landcover: Path) -> None:
    with xr.open_datatree(landcover, engine="zarr", chunks=None, decode_coords="all") as tree:
        assert tree["epsg32632/r10m"].ds["landcover"].dtype == np.uint8
        assert tree["epsg32633/r10m"].ds["landcover"].shape == (60, 66)
