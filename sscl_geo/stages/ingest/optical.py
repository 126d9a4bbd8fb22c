"""Sentinel-2 over one tile and period: masked, and composited over its days."""

from collections.abc import Iterator
from datetime import date
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from sscl_geo.geo.grid import CHUNK_PX, Window
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.ops.compositors import compositor_of
from sscl_geo.ops.dates import chosen_days, middle_days
from sscl_geo.ops.masks import MaskSpec, is_seen, refined
from sscl_geo.ops.quality import QualitySpec, quality
from sscl_geo.stages.ingest.days import MASK_GSD, Days
from sscl_geo.stages.ingest.layers import Layers, empty

STACK_BYTES = 320 * 2**20
"""Most bytes of one band on all days of a strip; a tile of fewer days is read in one piece, so that
each block of its scenes is decoded once."""

JOINT_PX = 1024
"""Side at 10 m of the pieces in which compositors work that need all bands at once."""

MOST_COUNTED = 255
QUALITY = QualitySpec(gsd_m=MASK_GSD)


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


def optical(days: Days, window: Window, sensor: Sensor, recipe: Recipe) -> Layers:
    """Composite a sensor's days over a tile.

    Raises:
        SceneError: A scene could not be read.
    """
    method = compositor_of(recipe.compositor)
    made = empty(sensor, window)
    for part in parts(window, len(days.dates), method.JOINT):
        piece = _Piece(days, part, sensor, recipe)
        out = made.inside(part.within(window))
        if method.JOINT:
            piece.fill_jointly(method, out)
        else:
            piece.fill_by_band(method, out)
    return made


def unmasked(days: Days, window: Window, sensor: Sensor, mask: MaskSpec) -> Layers:
    """Return the only day of a daily cube as it was seen, and its mask beside it.

    Its number of valid observations is 1 where the mask shows the ground.
    """
    made = empty(sensor, window)
    bits = days.bits(window, mask.reach)[0]
    inner = slice(mask.reach, -mask.reach or None)
    made.masks["r20m"] = bits[inner, inner]
    is_valid = refined(is_seen(bits, mask)[inner, inner], 2)
    for group, bands in sensor.groups.items():
        for band, pixels in zip(bands, made.pixels[group], strict=True):
            days.band(window, band, group, pixels[np.newaxis])
            if group == "r10m":
                np.logical_and(is_valid, pixels, out=is_valid)
    made.counts["n_valid"][...] = is_valid
    made.counts["doy"][...] = np.where(is_valid, _day_number(days.dates[0]), 0)
    return made


def _day_number(day: date) -> int:
    return day.timetuple().tm_yday


def parts(window: Window, days: int, is_joint: bool) -> Iterator[Window]:
    """Return the windows at 10 m in which a tile of so many days is composited."""
    rows = max(STACK_BYTES // (2 * max(days, 1) * window.width) // CHUNK_PX, 1) * CHUNK_PX
    height, width = (JOINT_PX, JOINT_PX) if is_joint else (rows, window.width)
    return window.blocks(height, width)


class _Piece:
    """A part of a tile on all days."""

    def __init__(self, days: Days, part: Window, sensor: Sensor, recipe: Recipe) -> None:
        self._days = days
        self._part = part
        self._sensor = sensor
        self._recipe = recipe

    def fill_by_band(self, method: ModuleType, out: Layers) -> None:
        weights = self._weights(method)
        is_valid = weights["r10m"].view(np.bool_).copy()
        for group, bands in self._sensor.groups.items():
            # One stack for all bands: fresh memory costs as much as a third of the decoding.
            stack = np.empty(weights[group].shape, np.uint16)
            for band, pixels in zip(bands, out.pixels[group], strict=True):
                self._days.band(self._part, band, group, stack)
                if group == "r10m":
                    np.logical_and(is_valid, stack, out=is_valid)
                pixels[...] = method.composite(stack[:, np.newaxis], weights[group]).pixels[0]
        _count(is_valid, out)
        out.counts["doy"][...] = middle_days(is_valid, self._day_numbers)

    def fill_jointly(self, method: ModuleType, out: Layers) -> None:
        weights = self._weights(method)["r20m"]
        stacks = {group: self._all_bands(group) for group in self._sensor.groups}
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

    def _all_bands(self, group: str) -> UInt16[np.ndarray, "time band y x"]:
        bands = self._sensor.groups[group]
        height, width = self._part.at(GROUP_GSD[group])[2:]
        stack = np.empty((len(self._days.dates), len(bands), height, width), np.uint16)
        for index, band in enumerate(bands):
            self._days.band(self._part, band, group, stack[:, index])
        return stack

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
        spec = self._recipe.mask
        bits = self._days.bits(self._part, margin + spec.reach)
        inner = slice(spec.reach, -spec.reach or None)
        return np.stack([is_seen(day, spec)[inner, inner] for day in bits])

    @property
    def _day_numbers(self) -> tuple[int, ...]:
        return tuple(_day_number(day) for day in self._days.dates)

    @property
    def _days_from_middle(self) -> tuple[float, ...]:
        middle = self._recipe.middle
        return tuple(float((day - middle).days) for day in self._days.dates)


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
