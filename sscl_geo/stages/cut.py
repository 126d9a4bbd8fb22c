"""From a cube and its labels to chips, each in a square block of ground that splits keep whole."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from pydantic import Field, model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, digest
from sscl_geo.geo.chips import Chip, ChipsSpec
from sscl_geo.geo.cube import Place
from sscl_geo.geo.grid import GSD, Grid, Window
from sscl_geo.geo.ground import owned
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.chips import ChipPixels, Chips, ChipSource, write_chips
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.location import AnyLocation

VERSION = 1


class CutSpec(Frozen):
    """How chips are cut: side by side, from the upper left corner of each grid.

    Attributes:
        side_px: Side of a chip in pixels of 10 m, even, so that 20 m pixels stay whole.
        block_m: Side in metres of the square blocks of the grid that are chips' places: a whole
            number of chips.
    """

    side_px: int = Field(default=64, ge=2)
    block_m: int = 1280

    @model_validator(mode="after")
    def _check(self) -> "CutSpec":
        side_m = self.side_px * GSD
        if self.side_px % 2:
            raise InvalidInputError(f"--size {self.side_px}: must be even, for bands of 20 m")
        if self.block_m < side_m or self.block_m % side_m:
            raise InvalidInputError(
                f"--block {self.block_m}: must be a multiple of a chip's side, {side_m} m, so that "
                "no chip lies in two blocks"
            )
        return self


def cut_chips(
    cube: AnyLocation, labels: AnyLocation | None, spec: CutSpec, out: AnyLocation
) -> Chips:
    """Write the chips of a cube: those that hold a pixel that was observed, and is labelled.

    Each period gives chips of its own, which share the place of their ground and are a part named
    as the period. Bands of 20 m are repeated on the pixels of 10 m. A pixel that no sensor observed
    has no label, and chips that reach beyond the ground that a grid owns are left out.

    Args:
        cube: The cube.
        labels: Labels on its pixels; None makes unlabelled chips.
        spec: How to cut.
        out: The store of chips.

    Raises:
        InvalidInputError: The cube is one of days, the labels lie on other pixels, or no chip is
            left.
        PlanConflictError: Another command made what stands at `out`.
    """
    opened = Cube.of_composites(cube)
    reference = None if labels is None else Classes.open(labels, "labels")
    if reference is not None:
        reference.check_grids(opened.spec.grids, opened.path)
    cuts = tuple(_cuts(opened, reference, spec))
    if not cuts:
        raise InvalidInputError(
            f"{cube}: no square of {spec.side_px} px holds an observed"
            f"{'' if reference is None else ' and labelled'} pixel; take a smaller --size"
        )
    source: ChipSource = _CubeChips(opened, reference, spec, cuts)
    return write_chips(source, out)


class _Cut(NamedTuple):
    """A window of a grid in one of the cube's periods."""

    zone: str
    time: int
    window: Window


class _CubeChips(NamedTuple):
    cube: Cube
    reference: Classes | None
    cut: CutSpec
    cuts: tuple[_Cut, ...]

    @property
    def spec(self) -> ChipsSpec:
        return ChipsSpec(
            sensors=self.cube.spec.sensors,
            count=len(self.cuts),
            side=self.cut.side_px,
            gsd=GSD,
            legend=None if self.reference is None else self.reference.legend,
        )

    @property
    def chips(self) -> list[Chip]:
        return [self._chip(cut) for cut in self.cuts]

    @property
    def identity(self) -> str:
        reference = None if self.reference is None else self.reference.store.plan.digest
        cut = self.cut.model_dump(mode="json")
        return digest([VERSION, self.cube.store.plan.digest, reference, cut])

    def read(self, number: int) -> ChipPixels:
        cut, sensors = self.cuts[number], self.cube.spec.sensors
        arrays = {sensor.array: self._pixels(sensor, cut) for sensor in sensors}
        if self.reference is None:
            return ChipPixels(arrays, None)
        return ChipPixels(arrays, self.reference.read(cut.zone, cut.window))

    def _chip(self, cut: _Cut) -> Chip:
        row, column = cut.window.y // self.cut.side_px, cut.window.x // self.cut.side_px
        across = self.cut.block_m // (self.cut.side_px * GSD)
        part = self.cube.spec.periods[cut.time].name
        return Chip(
            id=f"{cut.zone}/{row}/{column}/{part}",
            place=f"{cut.zone}/{row // across}/{column // across}",
            part=part,
        )

    def _pixels(self, sensor: Sensor, cut: _Cut) -> Shaped[np.ndarray, "band y x"]:
        planes: dict[str, Shaped[np.ndarray, "y x"]] = {}
        for group, bands in sensor.groups.items():
            place = Place(f"{group}/{sensor.array}", 0)
            window, factor = cut.window.at(place.gsd), place.gsd // GSD
            stored = self.cube.store.read(f"{cut.zone}/{place.array}", (cut.time,), window)
            fine = stored.repeat(factor, 1).repeat(factor, 2)
            planes |= {band.name: plane for band, plane in zip(bands, fine, strict=True)}
        return np.stack([planes[band.name] for band in sensor.bands])


def _cuts(cube: Cube, reference: Classes | None, spec: CutSpec) -> Iterator[_Cut]:
    """Yield the chips that are worth cutting, row by row and period by period."""
    side = spec.side_px
    for grid in cube.spec.grids:
        height, width = grid.shape
        for top in range(0, height - side + 1, side):
            row = Window(top, 0, side, width)
            is_known = None if reference is None else reference.read(grid.zone, row) != UNLABELLED
            for time in range(len(cube.spec.periods)):
                is_wanted = _observed(cube, grid, time, row)
                if is_known is not None:
                    is_wanted &= is_known
                for left in range(0, width - side + 1, side):
                    window = Window(top, left, side, side)
                    if is_wanted[:, left : left + side].any() and owned(grid, window).all():
                        yield _Cut(grid.zone, time, window)


def _observed(cube: Cube, grid: Grid, time: int, window: Window) -> Bool[np.ndarray, "y x"]:
    counts: list[UInt8[np.ndarray, "y x"]] = [
        cube.store.read(f"{grid.zone}/r10m/n_valid_{sensor.array}", (time,), window)
        for sensor in cube.spec.sensors
    ]
    return np.asarray(np.any(counts, axis=0))
