"""Sentinel-2 over one tile and period: masked, and composited over its days."""

from collections.abc import Iterator, Sequence
from datetime import date
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from sscl_geo import plugins
from sscl_geo.geo.grid import CHUNK_PX, Grid, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import GROUP_GSD, Band, Sensor
from sscl_geo.io.observations import reflectance, scene_classes
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.ops.dates import chosen_days, middle_days
from sscl_geo.ops.masks import MaskSpec, is_seen, refined, scl_bits
from sscl_geo.ops.quality import QualitySpec, quality
from sscl_geo.stages.ingest.layers import Layers, empty
from sscl_geo.stages.ingest.view import View

STACK_BYTES = 320 * 2**20
"""Most bytes of one band on all days of a strip; a tile of fewer days is read in one piece, so that
each block of its scenes is decoded once."""

JOINT_PX = 1024
"""Side at 10 m of the pieces in which compositors work that need all bands at once."""

MASK_GSD = 20
MOST_COUNTED = 255
QUALITY = QualitySpec(gsd_m=MASK_GSD)

Days = Sequence[Sequence[Scene]]


class Recipe(NamedTuple):
    """How days become a composite.

    Attributes:
        compositor: Name of the compositor plugin.
        mask: What hides the ground.
        middle: Middle of the period, from which compositors that weigh dates count.
    """

    compositor: str
    mask: MaskSpec
    middle: date


def optical(
    reader: GeoTiffReader, grid: Grid, window: Window, sensor: Sensor, days: Days, recipe: Recipe
) -> Layers:
    """Composite a sensor's days over a tile.

    Raises:
        SceneError: A scene could not be read.
    """
    method = plugins.find("sscl_geo.ops.compositors", recipe.compositor)
    made = empty(sensor, window)
    for part in parts(window, len(days), method.JOINT):
        piece = _Piece(View(reader, grid, part), sensor, days, recipe)
        out = made.inside(part._replace(y=part.y - window.y, x=part.x - window.x))
        if method.JOINT:
            piece.fill_jointly(method, out)
        else:
            piece.fill_by_band(method, out)
    return made


def parts(window: Window, days: int, is_joint: bool) -> Iterator[Window]:
    """Yield the windows at 10 m in which a tile of so many days is composited."""
    rows = max(STACK_BYTES // (2 * max(days, 1) * window.width) // CHUNK_PX, 1) * CHUNK_PX
    height, width = (JOINT_PX, JOINT_PX) if is_joint else (rows, window.width)
    bottom, right = window.y + window.height, window.x + window.width
    for y in range(window.y, bottom, height):
        for x in range(window.x, right, width):
            yield Window(y, x, min(height, bottom - y), min(width, right - x))


class _Piece:
    """A part of a tile on all days."""

    def __init__(self, view: View, sensor: Sensor, days: Days, recipe: Recipe) -> None:
        self._view = view
        self._sensor = sensor
        self._days = days
        self._recipe = recipe

    def fill_by_band(self, method: ModuleType, out: Layers) -> None:
        weights = self._weights(method)
        is_valid = weights["r10m"].view(np.bool_).copy()
        for group, bands in self._sensor.groups.items():
            for band, pixels in zip(bands, out.pixels[group], strict=True):
                stack = self._stack(band, group)
                if group == "r10m":
                    np.logical_and(is_valid, stack, out=is_valid)
                pixels[...] = method.composite(stack[:, np.newaxis], weights[group]).pixels[0]
        _count(is_valid, out)
        out.counts["doy"][...] = middle_days(is_valid, self._day_numbers)

    def fill_jointly(self, method: ModuleType, out: Layers) -> None:
        weights = self._weights(method)["r20m"]
        stacks = {
            group: np.stack([self._stack(band, group) for band in bands], axis=1)
            for group, bands in self._sensor.groups.items()
        }
        weights = np.where(_whole(stacks), weights, np.uint8(0))
        fine = np.stack([refined(layer, 2) for layer in weights])
        for group, stack in stacks.items():
            made = method.composite(stack, fine if group == "r10m" else weights)
            out.pixels[group][...] = made.pixels
        _count(fine > 0, out)
        days = (
            middle_days(fine > 0, self._day_numbers)
            if made.chosen is None
            else chosen_days(made.chosen, self._day_numbers)
        )
        out.counts["doy"][...] = refined(days, fine.shape[1] // len(days))

    def _weights(self, method: ModuleType) -> dict[str, UInt8[np.ndarray, "time _ _"]]:
        """Return the weight of each day's pixels for each group, 0 where the ground was hidden."""
        margin = QUALITY.reach if method.BY_QUALITY else 0
        seen = self._seen(margin)
        coarse = seen.view(np.uint8)
        if margin:
            inner = slice(margin, -margin)
            coarse = quality(seen, self._days_from_middle, QUALITY)[:, inner, inner]
        fine = np.stack([refined(layer, 2) for layer in coarse])
        return {"r20m": coarse, "r10m": fine}

    def _seen(self, margin: int) -> Bool[np.ndarray, "time y x"]:
        """Return where the ground was seen on each day at 20 m, with a margin of such pixels."""
        return np.stack([self._day_seen(day, margin) for day in self._days])

    def _day_seen(self, day: Sequence[Scene], margin: int) -> Bool[np.ndarray, "y x"]:
        spec = self._recipe.mask
        block = self._view.block(MASK_GSD, margin + spec.reach)
        if any(scene.mask_href is None for scene in day):
            height, width = self._view.block(MASK_GSD, margin)[2:]
            return np.ones((height, width), np.bool_)
        bits = scl_bits(self._view.mosaic(day, scene_classes, 0, block))
        inner = slice(spec.reach, -spec.reach or None)
        return is_seen(bits, spec)[inner, inner]

    def _stack(self, band: Band, group: str) -> UInt16[np.ndarray, "time y x"]:
        block = self._view.block(GROUP_GSD[group])
        stack = np.empty((len(self._days), block.height, block.width), np.uint16)
        for layer, day in zip(stack, self._days, strict=True):
            layer[...] = self._view.mosaic(day, reflectance(band.name), 0, block)
        return stack

    @property
    def _day_numbers(self) -> tuple[int, ...]:
        return tuple(day[0].datetime.timetuple().tm_yday for day in self._days)

    @property
    def _days_from_middle(self) -> tuple[float, ...]:
        middle = self._recipe.middle
        return tuple(float((day[0].datetime.date() - middle).days) for day in self._days)


def _whole(stacks: dict[str, UInt16[np.ndarray, "_ _ _ _"]]) -> Bool[np.ndarray, "time y x"]:
    """Return where, at 20 m, every band of every group was observed."""
    found = []
    for group, stack in stacks.items():
        factor = MASK_GSD // GROUP_GSD[group]
        is_observed = (stack != 0).all(axis=1)
        time, height, width = is_observed.shape
        cells = is_observed.reshape(time, height // factor, factor, width // factor, factor)
        found.append(cells.all(axis=(2, 4)))
    return np.asarray(np.logical_and.reduce(found))


def _count(is_valid: Bool[np.ndarray, "time y x"], out: Layers) -> None:
    counted = is_valid.sum(axis=0, dtype=np.uint16)
    out.counts["n_valid"][...] = np.minimum(counted, MOST_COUNTED).astype(np.uint8)
