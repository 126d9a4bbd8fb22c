from pathlib import Path

import numpy as np
import pytest

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.io.chips import Selection
from sscl_geo.io.fields import decoded, opened, warn_of_small
from sscl_geo.io.location import location
from tests.drawn_cubes import draw_cube

GRID = Grid(crs="EPSG:32633", origin=(499_980, 5_400_060), shape=(300, 258), tile_px=256)
BANDS = ["sentinel2_l2a:B02", "sentinel1_rtc:VV"]
KEY = "r10m/s2"
ARRAY = f"{GRID.zone}/{KEY}"


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    draw_cube(tmp_path / "cube.zarr", (GRID,), Window(0, 0, 20, 20))
    return tmp_path / "cube.zarr"


def pieces(cube: Path, cache: Path) -> list[dict[str, np.ndarray]]:
    imagery = opened(Selection(path=location(cube)))
    return [piece.arrays for piece in decoded(imagery, imagery.wanted(BANDS), cache)]


def shards(cube: Path) -> list[Path]:
    return sorted(path for path in (cube / ARRAY / "c").rglob("*") if path.is_file())


def test_what_is_decoded_is_what_the_cube_holds_and_is_decoded_once(
    cube: Path, tmp_path: Path
) -> None:
    found = pieces(cube, tmp_path / "cache")
    store = opened(Selection(path=location(cube))).store
    whole = Window(0, 0, *GRID.shape)
    for arrays, time in zip(found, (0, 1), strict=True):
        assert np.array_equal(arrays[KEY][0], store.read(ARRAY, (time,), whole)[0])
    for path in shards(cube):
        path.write_bytes(b"damaged")
    again = pieces(cube, tmp_path / "cache")
    for one, other in zip(found, again, strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)


def test_an_area_that_cannot_be_decoded_leaves_no_file(cube: Path, tmp_path: Path) -> None:
    shards(cube)[-1].write_bytes(b"damaged")
    with pytest.raises(ReadError):
        pieces(cube, tmp_path / "cache")
    left = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert left == ["r10m-s1-0.npy", "r10m-s2-0.npy"]


def test_areas_that_no_patch_fits_into_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = GRID.replace(crs="EPSG:32632", shape=(300, 36))
    draw_cube(tmp_path / "cube.zarr", (GRID, small), Window(0, 0, 20, 20))
    imagery = opened(Selection(path=location(tmp_path / "cube.zarr")))
    warn_of_small([imagery], 36)
    assert not caplog.messages
    warn_of_small([imagery], 42)
    (told,) = caplog.messages
    assert told.startswith(f"{imagery.path}: zone {small.zone} smaller than a patch of 42 px")
