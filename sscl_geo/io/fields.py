"""Cubes decoded into memory-mapped arrays, so that epochs read no codec."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from sscl_geo.geo.cube import Place
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.io.cubes import Cube, Places

ROWS = 2048
"""Rows at 10 m that are decoded at a time."""


class Decoded(NamedTuple):
    """All of one zone at one sample of periods; `arrays` are read-only maps of files by place."""

    zone: str
    time: int
    arrays: dict[str, Shaped[np.ndarray, "_ _ _"]]


def decoded(cube: Cube, places: Places, cache: Path) -> Iterator[Decoded]:
    """Yield every zone and sample of a cube, decoded once into files of a folder.

    Args:
        cube: The cube.
        places: The bands, as `Cube.wanted` returns them.
        cache: Folder of the files; several processes may share it.
    """
    name = f"{cube.store.plan.digest[:16]}"
    for grid in cube.spec.grids:
        for time in cube.samples(places):
            folder = cache / name / grid.zone / str(time)
            arrays = {
                key: _mapped(cube, grid, time, {key: indices}, folder)
                for key, indices in places.items()
            }
            yield Decoded(grid.zone, time, arrays)


def _mapped(
    cube: Cube, grid: Grid, time: int, place: Places, folder: Path
) -> Shaped[np.ndarray, "band y x"]:
    key, indices = next(iter(place.items()))
    path = folder / f"{key.replace('/', '-')}-{'-'.join(map(str, indices))}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _decode(cube, grid, time, place, path)
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


def _decode(cube: Cube, grid: Grid, time: int, place: Places, path: Path) -> None:
    key, indices = next(iter(place.items()))
    stored = cube.store.array(f"{grid.zone}/{Place.of(key).array}")
    # Each process writes a file of its own and the last one stays; all hold the same bytes.
    pending = path.with_name(f"{path.name}.{np.random.default_rng().integers(2**62)}.partial")
    out = np.lib.format.open_memmap(
        pending, mode="w+", dtype=stored.dtype, shape=(len(indices), *stored.shape[-2:])
    )
    factor = grid.shape[0] // stored.shape[-2]
    for top in range(0, grid.shape[0], ROWS):
        window = Window(top, 0, min(ROWS, grid.shape[0] - top), grid.shape[1])
        rows = slice(top // factor, (top + window.height) // factor)
        out[:, rows] = cube.read(grid.zone, time, place, window)[key]
    out.flush()
    pending.replace(path)
