"""Ingest: the cube is what its scenes say, whoever makes it and however often it is killed."""

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray

from sscl_geo.errors import HolesError, NoSceneError, PlanConflictError
from sscl_geo.io.journal import journal
from sscl_geo.io.profile import source
from sscl_geo.io.tables import SCENES, read_scenes
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import Method, ingest, resume
from sscl_geo.stages.ingest.grouping import one_orbit

Content = Callable[[Path], dict[str, bytes]]
Clear = Callable[..., np.ndarray]


def placed(group: xarray.Dataset, href: str) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Read a raster and tell where it lies on the group's pixels."""
    with rasterio.open(href) as file:
        gsd = file.res[0]
        x = round((file.transform.c - group.x.values[0] + 5) / gsd)
        y = round((group.y.values[0] + 5 - file.transform.f) / gsd)
        pixels: np.ndarray = file.read(1)
        return pixels, (slice(y, y + file.height), slice(x, x + file.width))


def clear_days(store: Path, band: str, time: int, clear_oracle: Clear) -> np.ndarray:
    """Return a 10 m band of the whole grid, day by day, with rasterio, SciPy and NumPy only."""
    scenes = [s for s in read_scenes((store / SCENES).read_bytes()) if s.mask_href]
    group = xarray.open_zarr(store, group="epsg32633/r10m")
    start, end = group.time_bounds.values[time]
    shape = group.sizes["y"], group.sizes["x"]
    stack = []
    for _, day in groupby(scenes, key=lambda scene: scene.datetime.date()):
        dn, scl = np.zeros(shape), np.zeros((shape[0] // 2, shape[1] // 2), np.uint8)
        for scene in day:
            if not start <= np.datetime64(scene.datetime.replace(tzinfo=None)) < end:
                continue
            pixels, where = placed(group, scene.href(band))
            raised = np.where(pixels > 0, pixels.astype(float) + scene.harmonise, 0)
            dn[where] = np.where(dn[where] == 0, raised, dn[where])
            pixels, where = placed(group, str(scene.mask_href))
            scl[where] = np.where(scl[where] == 0, pixels, scl[where])
        clear = clear_oracle(scl).repeat(2, 0).repeat(2, 1)
        stack.append(np.where(clear & (dn > 0), dn, np.nan))
    return np.array(stack)


def median(stack: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        middle: np.ndarray = np.nanmedian(stack, axis=0)
    return np.nan_to_num(np.floor(middle + 0.5)).astype(np.uint16)


@pytest.fixture(scope="module")
def cube(learned: Any) -> Path:
    path: Path = learned.cube
    return path


@pytest.mark.parametrize(("band", "position"), [("B02", 0), ("B08", 3)])
@pytest.mark.parametrize("time", [0, 1])
def test_the_composite_is_the_numpy_median_of_clear_pixels_bit_for_bit(
    cube: Path, clear_oracle: Clear, band: str, position: int, time: int
) -> None:
    group = xarray.open_zarr(cube, group="epsg32633/r10m", mask_and_scale=False)
    expected = median(clear_days(cube, band, time, clear_oracle))
    assert expected.any()
    assert np.array_equal(group.s2.values[time, position], expected)


def test_both_offset_conventions_meet_in_one_scale(cube: Path) -> None:
    scenes = [s for s in read_scenes((cube / SCENES).read_bytes()) if s.mask_href]
    assert {scene.harmonise for scene in scenes} == {0, 1000}
    group = xarray.open_zarr(cube, group="epsg32633/r10m")
    near_infrared = group.s2.sel(band_s2="B08").median(("y", "x")).values
    assert (near_infrared > 0.05).all()
    assert (near_infrared < 0.6).all()


def test_backscatter_is_the_mean_in_linear_power_of_one_orbit(world: Any, cube: Path) -> None:
    radar = [s for s in read_scenes((cube / SCENES).read_bytes()) if not s.is_optical]
    scenes = one_orbit(radar, world.bbox, "auto")
    assert len({scene.orbit for scene in scenes}) == 1
    group = xarray.open_zarr(cube, group="epsg32633/r10m", mask_and_scale=False)
    start, end = group.time_bounds.values[0]
    first = [s for s in scenes if start <= np.datetime64(s.datetime.replace(tzinfo=None)) < end]
    images = []
    for scene in first:
        with rasterio.open(scene.href("VV")) as file:
            images.append(file.read(1).astype(np.float64))
            corner = file.transform.c, file.transform.f
    decibel = np.rint(1000 * np.log10(np.mean(images, axis=0).astype(np.float32)))
    left = round((corner[0] + 5 - group.x.values[0]) / 10)
    top = round((group.y.values[0] + 5 - corner[1]) / 10)
    place = np.s_[top : top + decibel.shape[0], left : left + decibel.shape[1]]
    # The edges of the swath are cleaned away.
    inner = np.s_[3:-3, 3:-3]
    assert np.abs(group.s1.values[0, 0][place] - decibel)[inner].max() <= 1
    assert (group.n_valid_s1.values[0][place][inner] == len(first)).all()
    assert (group.n_valid_s1.values[0][place][:3] == 0).all()


@pytest.mark.parametrize("time", [0, 1])
def test_the_number_of_observations_counts_clear_days(
    cube: Path, clear_oracle: Clear, time: int
) -> None:
    group = xarray.open_zarr(cube, group="epsg32633/r10m", mask_and_scale=False)
    expected = np.isfinite(clear_days(cube, "B04", time, clear_oracle)).sum(0)
    assert expected.max() > 1
    assert group.n_valid_s2.dtype == np.uint8
    assert np.array_equal(group.n_valid_s2.values[time], expected)


def test_dask_makes_the_same_bytes(
    world: Any, cube: Path, tmp_path: Path, content: Content
) -> None:
    ingest(world.request(), tmp_path / "cube.zarr", Machines(executor="dask"))
    assert content(tmp_path / "cube.zarr") == content(cube)


def test_the_order_in_which_a_catalogue_answers_does_not_matter(
    world: Any, cube: Path, tmp_path: Path
) -> None:
    mirror = shutil.copytree(world.catalog.parent, tmp_path / "mirror")
    for path in mirror.rglob("c*.json"):
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "links": document["links"][::-1]}))
    backwards = source(str(mirror / world.catalog.name))
    ingest(world.request(source=backwards, tile_px=512), tmp_path / "cube.zarr", Machines())
    same_pixels(cube, tmp_path / "cube.zarr")


def same_pixels(mine: Path, theirs: Path) -> None:
    for group in ("epsg32633/r10m", "epsg32633/r20m"):
        one, other = (
            xarray.open_zarr(path, group=group, mask_and_scale=False, decode_times=False)
            for path in (mine, theirs)
        )
        for name in one.data_vars:
            assert np.array_equal(one[name].values, other[name].values), name


def command(world: Any, out: Path) -> list[str]:
    box = [str(value) for value in world.bbox]
    return [
        *(sys.executable, "-m", "sscl_geo.ingest", "--catalog", world.api),
        *("--bbox", *box, "--datetime", "2024-04-01/2024-09-30", "--period", "P3M"),
        *("--tile-px", "256", "--out", str(out)),
    ]


def test_a_scene_that_cannot_be_read_is_a_named_hole_and_the_same_command_closes_it(
    world: Any, cube: Path, tmp_path: Path, content: Content
) -> None:
    request = world.request()
    victim = next(world.catalog.parent.rglob("B11.tif"))
    hidden = victim.with_suffix(".hidden")
    out = tmp_path / "cube.zarr"
    victim.rename(hidden)
    try:
        # In a process of its own, whose GDAL has not seen the file before.
        done = subprocess.run(command(world, out), check=False, capture_output=True, text=True)
        assert done.returncode == 1
        assert "B11.tif cannot be read" in done.stderr
        assert (
            "run the same command" not in done.stderr.split("cannot be read", 1)[1].split("\n")[0]
        )
        assert "Traceback" not in done.stderr
        failed = [o for o in Ledger(journal(out)).outcomes.values() if o.status == "failed"]
        assert failed
    finally:
        hidden.rename(victim)
    assert ingest(request, out, Machines()).now == len(failed)
    assert content(out) == content(cube)


def test_another_plan_on_the_same_store_is_refused_by_the_key_that_differs(
    world: Any, cube: Path, content: Content
) -> None:
    before = content(cube)
    with pytest.raises(PlanConflictError, match='period is "P3M" there and "P1M" here'):
        ingest(world.request(period="P1M"), cube, Machines())
    assert content(cube) == before


def test_a_search_without_scenes_says_how_many_each_sensor_has_and_what_to_relax(
    world: Any, tmp_path: Path
) -> None:
    request = world.request(datetime="2019-01-01/2019-02-01")
    with pytest.raises(NoSceneError, match=r"sentinel2_l2a \(sentinel-2-l2a\): 0.*widen"):
        ingest(request, tmp_path / "cube.zarr", Machines())
    assert not (tmp_path / "cube.zarr").exists()


def test_an_orbit_that_nobody_flew_is_told(world: Any, tmp_path: Path) -> None:
    method = Method(orbit="descending")
    request = world.request(method=method, datetime="2024-04-01/2024-04-10")
    with pytest.raises(NoSceneError, match="--orbit descending: sentinel1_rtc has none, but 1 asc"):
        ingest(request, tmp_path / "cube.zarr", Machines())


def test_another_tile_size_makes_the_same_pixels(world: Any, cube: Path, tmp_path: Path) -> None:
    ingest(world.request(tile_px=512), tmp_path / "cube.zarr", Machines())
    same_pixels(cube, tmp_path / "cube.zarr")


def test_a_scene_whose_pixels_cannot_be_asked_is_not_left_out(
    world: Any, learned: Any, tmp_path: Path
) -> None:
    victim = next(world.catalog.parent.rglob("B02.tif"))
    hidden = victim.with_suffix(".hidden")
    victim.rename(hidden)
    try:
        with pytest.raises(HolesError, match=r"B02\.tif cannot be read"):
            ingest(world.request(tile_px=512), tmp_path / "cube.zarr", Machines())
    finally:
        hidden.rename(victim)
    # Its metadata have decided how its numbers are to be read.
    resume(tmp_path / "cube.zarr", Machines())
    same_pixels(learned.cube, tmp_path / "cube.zarr")
