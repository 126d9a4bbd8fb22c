"""What a killed command leaves beside a map, and what the next one does with it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.io.disk import Disk, delete_pending, writing_beside
from sscl_geo.io.finishing import finish_map
from sscl_geo.io.location import location
from sscl_geo.io.publish.cog import RasterProfile, write_cog_blocks
from sscl_geo.io.store import Store
from tests.drawn_maps import LEGEND, draw_map

GRID = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(300, 420), tile_px=256)


def killed_while_writing(path: Path) -> None:
    """Write half of a COG."""

    def blocks() -> Iterator[tuple[Window, np.ndarray]]:
        yield Window(0, 0, 256, 256), np.ones((256, 256), np.uint8)
        os.kill(os.getpid(), signal.SIGKILL)

    with location(path).new_file() as pending:
        ground = GRID.block(Window(0, 0, *GRID.shape))
        write_cog_blocks(pending, blocks(), ground, profile=RasterProfile("uint8", 0))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    ones = draw_map(tmp_path / "map.zarr", [GRID], lambda _, w: np.full(w[2:], 10, np.uint8))
    return Store.open(ones, "map")


def test_what_a_killed_command_left_beside_a_map_is_deleted_by_the_next(
    store: Store, tmp_path: Path
) -> None:
    life = multiprocessing.get_context("spawn").Process(
        target=killed_while_writing, args=(tmp_path / "map.tif",)
    )
    life.start()
    life.join()
    assert life.exitcode == -signal.SIGKILL
    (left,) = set(names(tmp_path)) - {"map.zarr"}
    assert left.endswith(".plain.tif")
    (tmp_path / f"{left}.ovr.tmp").touch()
    finish_map(store, (GRID,), LEGEND, [])
    assert names(tmp_path) == ["map.tif", "map.zarr"]


def test_what_another_process_writes_stays(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with writing_beside(Path(store.path.key), [path]), Disk().new_file(str(path)) as pending:
        pending.write_bytes(b"whole")
        finish_map(store, (GRID,), LEGEND, [])
    assert path.read_bytes() == b"whole"


def test_what_is_left_of_other_files_is_not_touched(tmp_path: Path) -> None:
    mine = f".map.{'0' * 32}.partial.tif"
    others = [
        f".map.b.{'0' * 32}.partial.tif",
        f".map.{'0' * 32}.partial.gpkg",
        ".map.tif",
        "map.tif",
        f".another.{'0' * 32}.partial.tif",
    ]
    for name in (mine, *others):
        (tmp_path / name).touch()
    delete_pending(tmp_path / "map.tif")
    assert names(tmp_path) == sorted(others)
