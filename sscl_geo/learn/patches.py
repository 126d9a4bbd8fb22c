"""Patches of fields, drawn as a pure function of seed, step and sample."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Shaped, UInt8
from torch import Tensor

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.batches import IGNORED, Batch, Field
from sscl_geo.learn.numbered import Numbered
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.observation import is_observed

ALIGNMENT = 2
"""Patches start at multiples of this many pixels, so that those twice as large stay whole."""

LARGE = 1 << 20
"""Bytes of a batch from which several threads copy it."""

_COPIERS = ThreadPoolExecutor(4)

Sampling = Literal["area", "fields", "pixels", "classes"]


class _Cut(NamedTuple):
    field: Field
    y: int
    x: int
    turns: int
    is_flipped: bool

    def turned(self, data: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Return a view of a patch, turned and flipped."""
        view = np.rot90(data, self.turns, (-2, -1))
        return view[..., ::-1] if self.is_flipped else view


class DrawSpec(NamedTuple):
    """How patches are drawn.

    Attributes:
        patch: Side in pixels of the network, even.
        batch: Samples per step over all ranks.
        seed: Seed of everything drawn.
        sampling: `area` draws observed ground evenly; `fields` draws fields that have labels
            evenly, then a patch of the field, around a labelled pixel if it would hold none;
            `pixels` draws labelled pixels evenly; and `classes` draws classes evenly, then a
            labelled pixel of the class. But for `area`, every patch holds a labelled pixel.
    """

    patch: int
    batch: int
    seed: int
    sampling: Sampling


class Patches:
    """Draws patches of fields, flipped and turned.

    Args:
        fields: Where patches come from.
        spec: The network whose arrays they feed.
        draw: How they are drawn.

    Raises:
        InvalidInputError: No field holds a whole patch of observed ground, or a labelled pixel.
    """

    def __init__(self, fields: tuple[Field, ...], spec: NetworkSpec, draw: DrawSpec) -> None:
        if draw.patch % ALIGNMENT or draw.patch < ALIGNMENT:
            raise InvalidInputError(
                f"patch of {draw.patch} px: must be a positive multiple of {ALIGNMENT}"
            )
        self._factor = _factors(spec)
        self._nodata = {name: bands[0].nodata for name, bands in spec.arrays.items()}
        self._draw = draw
        self._step = _step(draw.patch)
        self._fields = fields
        # Corners of patches by area, and labelled pixels otherwise.
        image = self._observed if draw.sampling == "area" else self._reached
        self._numbered = [Numbered(image(field)) for field in fields]
        counts = np.array([numbered.count() for numbered in self._numbered])
        if draw.sampling == "fields":
            counts = np.minimum(counts, 1)
        # Of each class, the share of its pixels that lie in a field or one before it.
        classes = self._all_classes() if draw.sampling == "classes" else ()
        self._shares = {label: self._cumulated(label) for label in classes}
        if counts.sum() == 0:
            what = "room" if draw.sampling == "area" else "labels"
            raise InvalidInputError(
                f"no field has {what} for a patch of {draw.patch} px where anything was seen; use "
                "a smaller patch, a longer time, more cubes or more labels"
            )
        self._ends = np.cumsum(counts)

    def batch(self, step: int, rank: int, world: int, device: torch.device) -> Batch:
        """Return this rank's part of a step's batch; the parts of all ranks do not depend on W.

        Raises:
            InvalidInputError: The batch does not divide by the number of ranks.
        """
        if self._draw.batch % world:
            raise InvalidInputError(
                f"batch {self._draw.batch} does not divide by {world} ranks; choose a "
                "multiple, so that every rank has equally many"
            )
        share = self._draw.batch // world
        cuts = [self._cut(step, rank * share + index) for index in range(share)]
        stored = {
            name: _on(device, self._gathered([(c.field.arrays[name], c) for c in cuts], factor))
            for name, factor in self._factor.items()
        }
        if cuts[0].field.labels is None:
            return Batch(stored, None)
        known = [(c.field.labels, c) for c in cuts if c.field.labels is not None]
        return Batch(stored, _on(device, self._gathered(known, 1)).long())

    def _cut(self, step: int, index: int) -> "_Cut":
        rng = np.random.default_rng([self._draw.seed, step, index])
        field, y, x = self._place(rng)
        return _Cut(field, y, x, int(rng.integers(4)), bool(rng.integers(2)))

    def _gathered(
        self, cuts: Sequence[tuple[Shaped[np.ndarray, "..."], "_Cut"]], factor: int
    ) -> Shaped[np.ndarray, "..."]:
        """Return patches of arrays as one array, each copied once, by threads if it is large."""
        size = self._draw.patch // factor
        first = cuts[0][0]
        out = np.empty((len(cuts), *first.shape[:-2], size, size), first.dtype)

        def copy(index: int) -> None:
            data, cut = cuts[index]
            top, left = cut.y // factor, cut.x // factor
            np.copyto(out[index], cut.turned(data[..., top : top + size, left : left + size]))

        list((_COPIERS.map if out.nbytes > LARGE else map)(copy, range(len(cuts))))
        return out

    def _place(self, rng: np.random.Generator) -> tuple[Field, int, int]:
        if self._draw.sampling == "classes":
            return self._of_class(rng)
        chosen = int(rng.integers(self._ends[-1]))
        index = int(np.searchsorted(self._ends, chosen, side="right"))
        number = chosen - (int(self._ends[index - 1]) if index else 0)
        if self._draw.sampling == "area":
            row, column = self._numbered[index].pixel(number)
            y, x = row * self._step, column * self._step
        elif self._draw.sampling == "fields":
            y, x = self._of_field(index, rng)
        else:
            y, x = self._around(index, self._numbered[index].pixel(number), rng)
        return self._fields[index], y, x

    def _of_class(self, rng: np.random.Generator) -> tuple[Field, int, int]:
        label = int(rng.choice([*self._shares]))
        index = int(np.searchsorted(self._shares[label], rng.random(), side="right"))
        numbered = self._numbered[index]
        pixel = numbered.pixel(int(rng.integers(numbered.count(label))), label)
        return self._fields[index], *self._around(index, pixel, rng)

    def _all_classes(self) -> list[int]:
        return sorted({label for numbered in self._numbered for label in numbered.classes})

    def _cumulated(self, label: int) -> Float64[np.ndarray, " field"]:
        counts = np.array([numbered.count(label) for numbered in self._numbered])
        shares = np.cumsum(counts / counts.sum())
        return np.asarray(shares / shares[-1])

    def _of_field(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        patch, numbered = self._draw.patch, self._numbered[index]
        y, x = (
            int(rng.integers((size - patch) // ALIGNMENT + 1)) * ALIGNMENT
            for size in _shape(self._fields[index], self._factor)
        )
        if numbered.is_any(y, x, patch):
            return y, x
        return self._around(index, numbered.pixel(int(rng.integers(numbered.count()))), rng)

    def _around(
        self, index: int, pixel: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int]:
        """Return the corner of a patch that holds a pixel somewhere."""
        patch = self._draw.patch
        shift = rng.integers(patch - ALIGNMENT + 1, size=2)
        sizes = _shape(self._fields[index], self._factor)
        y, x = (
            int(np.clip(pixel[axis] - shift[axis], 0, sizes[axis] - patch)) // ALIGNMENT * ALIGNMENT
            for axis in (0, 1)
        )
        return y, x

    def _reached(self, field: Field) -> UInt8[np.ndarray, "y x"]:
        """Return a field's labels but for a last odd row or column, which no patch reaches."""
        patch = self._draw.patch
        height, width = _shape(field, self._factor)
        if min(height, width) < patch:
            return np.full((0, 0), IGNORED, np.uint8)
        height, width = (size - (size - patch) % ALIGNMENT for size in (height, width))
        if field.labels is None:
            return np.full((height, width), IGNORED, np.uint8)
        return field.labels[:height, :width]

    def _observed(self, field: Field) -> UInt8[np.ndarray, "row column"]:
        """Return an image of corners, 0 where at least half of the patch was observed."""
        patch, step = self._draw.patch, self._step
        rows, columns = (size // step for size in _shape(field, self._factor))
        finest = min(self._factor.values())
        arrays = {n: field.arrays[n] for n, factor in self._factor.items() if factor == finest}
        seen = is_observed(arrays, self._nodata, _shape(field, self._factor))
        seen = seen[: rows * step, : columns * step]
        cells = seen.reshape(rows, step, columns, step).sum((1, 3))
        table = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        side = patch // step
        area = table[side:, side:] - table[:-side, side:] - table[side:, :-side]
        area += table[:-side, :-side]
        return np.where(2 * area >= patch**2, np.uint8(0), np.uint8(IGNORED))


def _step(patch: int) -> int:
    """Return how far apart patches start: an eighth of a patch or less, and a part of it."""
    most = max(patch // 8, ALIGNMENT)
    return max(step for step in range(ALIGNMENT, most + 1, ALIGNMENT) if patch % step == 0)


def _on(device: torch.device, array: Shaped[np.ndarray, "..."]) -> Tensor:
    """Return an array on a device; the copy to a GPU goes on while the next batch is drawn."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def extent(field: Field, spec: NetworkSpec) -> tuple[int, int]:
    """Return a field's height and width in pixels of the network."""
    return _shape(field, _factors(spec))


def _factors(spec: NetworkSpec) -> dict[str, int]:
    """Return the network's pixels per pixel of each array, on a side."""
    return {name: bands[0].gsd // spec.gsd for name, bands in spec.arrays.items()}


def _shape(field: Field, factors: dict[str, int]) -> tuple[int, int]:
    name, factor = next(iter(factors.items()))
    return field.arrays[name].shape[1] * factor, field.arrays[name].shape[2] * factor
