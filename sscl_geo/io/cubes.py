"""Reading cubes band by band, whatever the order in which they keep them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from pydantic import TypeAdapter

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.cube import BandSource, CubeSpec, Place, band_sources
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.maps import LANDCOVER, level_name
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES, TILES

GridsOf = TypeAdapter(tuple[Grid, ...])

_NAMES = {"labels": "labels", "map": f"{level_name(1)}/{LANDCOVER}"}
"""Path of the array of classes in a zone, by the kind of store."""

Places = Mapping[str, list[int]]
"""Positions on the band axis by the key of each place, in the order in which bands were named."""


class Cube(NamedTuple):
    """An open cube.

    Attributes:
        path: Its path.
        store: Its store.
        spec: Its schema.
    """

    path: Location
    store: Store
    spec: CubeSpec

    @classmethod
    def open(cls, path: AnyLocation) -> "Cube":
        """Open a cube.

        Raises:
            InvalidInputError: There is none at the path, or it is unfinished.
        """
        store = Store.open(path, "cube")
        _check_whole(store)
        return cls(store.path, store, store.kept("spec", CubeSpec.model_validate))

    @classmethod
    def of_composites(cls, path: AnyLocation) -> "Cube":
        """Open a cube that has no clouds, for what learns or maps.

        Raises:
            InvalidInputError: There is none at the path, it is unfinished, or it holds days.
        """
        cube = cls.open(path)
        if cube.spec.is_daily:
            raise InvalidInputError(
                f"{path}: holds single days under their clouds; make composites of it with "
                "`sscl-geo composite` first"
            )
        return cube

    @property
    def scenes(self) -> dict[str, bytes]:
        """The table of its scenes, for what is made of it; nothing if it has none."""
        table = self.path / SCENES
        return {SCENES: table.read_bytes()} if table.exists() else {}

    def bands(self, periods: int = 1) -> tuple[BandSource, ...]:
        """Return every band of a sample of consecutive periods."""
        return band_sources(self.spec.sensors, periods)

    def wanted(self, names: Sequence[str], *, may_lack: bool = False) -> Places:
        """Return where the bands of a sample are.

        Args:
            names: Names of bands.
            may_lack: Whether bands may be absent, but not all.

        Raises:
            InvalidInputError: The cube lacks a band, or does not have whole samples of periods.
        """
        periods = 1 + max(Place.of(name).later for name in names)
        count = len(self.spec.periods)
        if count % periods:
            raise InvalidInputError(
                f"{self.path} has {count} periods, not a multiple of the {periods} that make a "
                "sample; ingest another --datetime or --period, or set `periods` in the study"
            )
        mine = {source.name: source for source in self.bands(periods)}
        missing = [name for name in names if name not in mine]
        if missing and (not may_lack or len(missing) == len(names)):
            raise InvalidInputError(
                f"{self.path} lacks the bands {', '.join(missing)}; it has "
                f"{', '.join(mine)}; ingest them, or use a model of other bands"
            )
        places: dict[str, list[int]] = {}
        for name in names:
            if name in mine:
                places.setdefault(mine[name].place.key, []).append(mine[name].index)
        return places

    def samples(self, places: Places) -> range:
        """Return the first period of each sample; samples share no period."""
        periods = 1 + max(Place.of(key).later for key in places)
        return range(0, len(self.spec.periods), periods)

    def read(
        self, zone: str, time: int, places: Places, window: Window
    ) -> dict[str, Shaped[np.ndarray, "_ _ _"]]:
        """Return stored numbers of a sample, by the keys of its places.

        Args:
            zone: The grid's zone.
            time: The sample's first period.
            places: As `wanted` returns them.
            window: Pixels at 10 m; they may reach over the grid's edge.
        """
        return {
            key: self._part(zone, time, Place.of(key), window)[indices]
            for key, indices in places.items()
        }

    def _part(
        self, zone: str, time: int, place: Place, window: Window
    ) -> Shaped[np.ndarray, "_ _ _"]:
        path = f"{zone}/{place.array}"
        return self.store.read(path, (time + place.later,), window.at(place.gsd))


class Classes(NamedTuple):
    """An open store of classes: labels or a map.

    Attributes:
        path: Its path.
        store: Its store.
        grids: Its grids.
        legend: Its legend.
        name: Path of the array of classes in a zone.
    """

    path: Location
    store: Store
    grids: tuple[Grid, ...]
    legend: Legend
    name: str

    @classmethod
    def open(cls, path: AnyLocation, kind: str) -> "Classes":
        """Open `labels` or a `map`.

        Raises:
            InvalidInputError: There is none at the path, or it is unfinished.
        """
        store = Store.open(path, kind)
        _check_whole(store)
        grids = store.kept("grids", GridsOf.validate_python)
        legend = store.kept("legend", Legend.model_validate)
        return cls(store.path, store, grids, legend, _NAMES[kind])

    def read(self, zone: str, window: Window) -> UInt8[np.ndarray, "y x"]:
        """Return class values of a window."""
        return self.store.read(f"{zone}/{self.name}", (), window)

    def thinned(self, zone: str, longest_px: int) -> UInt8[np.ndarray, "y x"]:
        """Return class values of a zone, of at most so many pixels a side."""
        return self.store.thinned(f"{zone}/{self.name}", (), longest_px)

    def grid(self, zone: str) -> Grid:
        """Return the grid of a zone."""
        return next(grid for grid in self.grids if grid.zone == zone)

    def check_grids(self, grids: tuple[Grid, ...], other: AnyLocation) -> None:
        """Check that classes lie on the same pixels.

        Raises:
            InvalidInputError: Origins or shapes differ.
        """
        if [_pixels(grid) for grid in grids] != [_pixels(grid) for grid in self.grids]:
            raise InvalidInputError(
                f"{self.path} and {other} lie on different grids; make the labels with "
                "`sscl-geo labels --cube` of the same cube"
            )


def made_by(model: Path, mapped: Classes) -> Bundle:
    """Return the card of the bundle that made a map.

    Raises:
        InvalidInputError: There is none, or another made it; one that was calibrated since, or
            before, is another.
    """
    bundle, told = read_card(model), mapped.store.plan.arguments
    if (bundle.weights_sha256, bundle.temperature) != (told.get("model"), told.get("temperature")):
        raise InvalidInputError(
            f"--model {model}: is not the model that made {mapped.path}; give that, or leave it out"
        )
    return bundle


def _check_whole(store: Store) -> None:
    # The table of tiles is the last thing that a tiled stage writes.
    if not (store.path / TILES).exists():
        raise InvalidInputError(
            f"{store.path} is unfinished; run the command that makes it again, to its end"
        )


def _pixels(grid: Grid) -> tuple[str, tuple[int, int], tuple[int, int]]:
    return grid.crs, grid.origin, grid.shape
