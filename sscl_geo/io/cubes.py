"""Reading cubes band by band, whatever the order in which they keep them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from pydantic import TypeAdapter

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.cube import BandSource, CubeSpec, band_sources
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES

GridsOf = TypeAdapter(tuple[Grid, ...])


class Cube(NamedTuple):
    """An open cube.

    Attributes:
        path: Its path.
        store: Its store.
        spec: Its schema.
    """

    path: Path
    store: Store
    spec: CubeSpec

    @classmethod
    def open(cls, path: Path) -> "Cube":
        """Open a cube.

        Raises:
            InvalidInputError: There is none at the path, or it is unfinished.
        """
        store = Store.open(path, "cube")
        _check_whole(path)
        return cls(path, store, CubeSpec.model_validate(store.plan.content["spec"]))

    @property
    def bands(self) -> tuple[BandSource, ...]:
        """Every band of the cube."""
        return band_sources(self.spec.sensors)

    def wanted(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return where bands are: positions on the band axis of each array, in the order given.

        Raises:
            InvalidInputError: The cube lacks a band.
        """
        mine = {source.name: source for source in self.bands}
        missing = [name for name in names if name not in mine]
        if missing:
            raise InvalidInputError(
                f"{self.path} lacks the bands {', '.join(missing)}; it has "
                f"{', '.join(mine)}; ingest them, or use a model of other bands"
            )
        places: dict[str, list[int]] = {}
        for name in names:
            places.setdefault(mine[name].array, []).append(mine[name].index)
        return places

    def read(
        self, zone: str, time: int, places: Mapping[str, list[int]], window: Window
    ) -> dict[str, Shaped[np.ndarray, "_ _ _"]]:
        """Return stored numbers of a window given at 10 m, which may reach over the grid's edge."""
        gsd = {source.array: source.gsd for source in self.bands}
        return {
            array: self.store.read(f"{zone}/{array}", (time,), window.at(gsd[array]))[indices]
            for array, indices in places.items()
        }


class Classes(NamedTuple):
    """An open store of classes: labels or a map.

    Attributes:
        path: Its path.
        store: Its store.
        grids: Its grids.
        legend: Its legend.
        name: Name of the array of classes.
    """

    path: Path
    store: Store
    grids: tuple[Grid, ...]
    legend: Legend
    name: str

    @classmethod
    def open(cls, path: Path, kind: str) -> "Classes":
        """Open `labels` or a `map`.

        Raises:
            InvalidInputError: There is none at the path, or it is unfinished.
        """
        store = Store.open(path, kind)
        if kind == "map":
            _check_whole(path)
        grids = GridsOf.validate_python(store.plan.content["grids"])
        legend = Legend.model_validate(store.plan.content["legend"])
        return cls(path, store, grids, legend, "labels" if kind == "labels" else "landcover")

    def read(self, zone: str, window: Window) -> UInt8[np.ndarray, "y x"]:
        """Return class values of a window."""
        return self.store.read(f"{zone}/{self.name}", (), window)

    def grid(self, zone: str) -> Grid:
        """Return the grid of a zone."""
        return next(grid for grid in self.grids if grid.zone == zone)

    def check_grids(self, grids: tuple[Grid, ...], other: Path) -> None:
        """Let only classes on the same pixels meet.

        Raises:
            InvalidInputError: Origins or shapes differ.
        """
        if [_pixels(grid) for grid in grids] != [_pixels(grid) for grid in self.grids]:
            raise InvalidInputError(
                f"{self.path} and {other} lie on different grids; make the labels with "
                "`sscl-geo labels --cube` of the same cube"
            )


def _check_whole(path: Path) -> None:
    # The table of tiles is the last thing that a tiled stage writes.
    if not (path / TILES).exists():
        raise InvalidInputError(
            f"{path} is unfinished; run the command that makes it again, to its end"
        )


def _pixels(grid: Grid) -> tuple[str, tuple[int, int], tuple[int, int]]:
    return grid.crs, grid.origin, grid.shape


def whole(grid: Grid) -> Window:
    """Return all pixels of a grid."""
    return Window(0, 0, *grid.shape)
