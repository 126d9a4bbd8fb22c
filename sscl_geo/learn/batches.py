"""Batches of patches, drawn as a pure function of seed, step and sample."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from torch import Tensor

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.inputs import Stored
from sscl_geo.learn.spec import NetworkSpec

IGNORED = 255
"""Class index of a pixel without a label."""

ALIGNMENT = 2
"""Patches start at multiples of this many pixels, so that those twice as large stay whole."""


LARGE = 1 << 20
"""Bytes of a batch from which several threads copy it."""

_COPIERS = ThreadPoolExecutor(4)

Sampling = Literal["area", "fields", "pixels", "classes"]


class Field(NamedTuple):
    """A contiguous area at one period, decoded.

    Attributes:
        arrays: Stored numbers `(band, y, x)` of each array, at its own resolution.
        labels: Positions of classes in the legend, `IGNORED` where there is none; None if
            the field is unlabelled.
    """

    arrays: dict[str, Shaped[np.ndarray, "_ _ _"]]
    labels: UInt8[np.ndarray, "y x"] | None


class Batch(NamedTuple):
    """Patches on a device; `labels` is `(batch, y, x)` or None."""

    stored: Stored
    labels: Int64[Tensor, "batch y x"] | None


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
        self._fields = fields
        self._places = [self._candidates(field) for field in fields]
        # Places of labelled pixels, found only where a patch without one was drawn.
        self._labelled = cache(
            lambda index: np.flatnonzero(self._reached(fields[index]) != IGNORED)
        )
        counts = np.array([len(places) for places in self._places])
        if counts.sum() == 0:
            what = "ground seen" if draw.sampling == "area" else "labels"
            raise InvalidInputError(
                f"no field has {what} for a patch of {draw.patch} px; use a smaller patch, "
                "more cubes or more labels"
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
        places = self._places[index]
        row = places[chosen - (self._ends[index] - len(places))]
        return self._fields[index], *self._corner(index, row, rng)

    def _of_class(self, rng: np.random.Generator) -> tuple[Field, int, int]:
        present = np.unique(np.concatenate([places[:, 2] for places in self._places]))
        label = rng.choice(present)
        counts = np.array([int((places[:, 2] == label).sum()) for places in self._places])
        index = int(rng.choice(len(counts), p=counts / counts.sum()))
        rows = self._places[index]
        row = rng.choice(rows[rows[:, 2] == label])
        return self._fields[index], *self._corner(index, row, rng)

    def _corner(self, index: int, row: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        if self._draw.sampling == "area":
            return int(row[0]), int(row[1])
        height, width = _shape(self._fields[index], self._factor)
        patch = self._draw.patch
        if self._draw.sampling == "fields":
            last = (height - patch, width - patch)
            y, x = (int(rng.integers(end // ALIGNMENT + 1)) * ALIGNMENT for end in last)
            labels = self._reached(self._fields[index])
            if (labels[y : y + patch, x : x + patch] != IGNORED).any():
                return y, x
            row = np.array(np.unravel_index(rng.choice(self._labelled(index)), labels.shape))
        shift = rng.integers(patch - ALIGNMENT + 1, size=2)
        corner = [
            int(np.clip(row[axis] - shift[axis], 0, size - patch)) // ALIGNMENT * ALIGNMENT
            for axis, size in enumerate((height, width))
        ]
        return corner[0], corner[1]

    def _candidates(self, field: Field) -> Int64[np.ndarray, "place 3"]:
        height, width = _shape(field, self._factor)
        patch = self._draw.patch
        if height < patch or width < patch:
            return np.zeros((0, 3), np.int64)
        if self._draw.sampling == "area":
            return self._observed(field, height - patch, width - patch)
        labels = self._reached(field)
        if self._draw.sampling == "fields":
            return np.zeros((int((labels != IGNORED).any()), 3), np.int64)
        rows, columns = np.nonzero(labels != IGNORED)
        return np.stack([rows, columns, labels[rows, columns]], 1).astype(np.int64)

    def _reached(self, field: Field) -> UInt8[np.ndarray, "y x"]:
        """Return a field's labels but for a last odd row or column, which no patch reaches."""
        height, width = (
            size - (size - self._draw.patch) % ALIGNMENT for size in _shape(field, self._factor)
        )
        if field.labels is None:
            return np.full((height, width), IGNORED, np.uint8)
        return field.labels[:height, :width]

    def _observed(self, field: Field, last_y: int, last_x: int) -> Int64[np.ndarray, "place 3"]:
        """Return corners of patches of which at least half the pixels were observed."""
        finest = [name for name, factor in self._factor.items() if factor == 1]
        seen = np.any(
            [(field.arrays[name] != self._nodata[name]).any(0) for name in finest], axis=0
        )
        table = np.pad(np.cumsum(np.cumsum(seen, 0, dtype=np.int64), 1), ((1, 0), (1, 0)))
        step = max(self._draw.patch // 8 // ALIGNMENT, 1) * ALIGNMENT
        y, x = np.meshgrid(
            np.arange(0, last_y + 1, step), np.arange(0, last_x + 1, step), indexing="ij"
        )
        bottom, right = y + self._draw.patch, x + self._draw.patch
        area = table[bottom, right] - table[y, right] - table[bottom, x] + table[y, x]
        kept = 2 * area >= self._draw.patch**2
        return np.stack([y[kept], x[kept], np.zeros(int(kept.sum()))], 1).astype(np.int64)


def _on(device: torch.device, array: Shaped[np.ndarray, "..."]) -> Tensor:
    """Return an array on a device; the copy to a GPU goes on while the next batch is drawn."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def joined(batches: Iterable[Batch]) -> Batch:
    """Return batches as one; samples of unlabelled batches have no label at any pixel."""
    parts = list(batches)
    if len(parts) == 1:
        return parts[0]
    stored = {name: torch.cat([part.stored[name] for part in parts]) for name in parts[0].stored}
    return Batch(stored, torch.cat([_labels(part) for part in parts]))


def parts_of(batch: Batch, count: int) -> tuple[Batch, ...]:
    """Return a batch as so many parts of equal size."""
    if count == 1:
        return (batch,)
    stored = {name: array.chunk(count) for name, array in batch.stored.items()}
    labels = (None,) * count if batch.labels is None else batch.labels.chunk(count)
    return tuple(
        Batch({name: chunks[index] for name, chunks in stored.items()}, labels[index])
        for index in range(count)
    )


def _labels(batch: Batch) -> Int64[Tensor, "batch y x"]:
    if batch.labels is not None:
        return batch.labels
    largest = max(batch.stored.values(), key=lambda array: array.shape[-1])
    count, _, height, width = largest.shape
    return torch.full((count, height, width), IGNORED, device=largest.device)


def shares(fields: Sequence[Field], classes: int) -> Float32[Tensor, " class"]:
    """Return each class's share of the labelled pixels."""
    counts = np.zeros(256, np.int64)
    for field in fields:
        if field.labels is not None:
            counts += np.bincount(field.labels.ravel(), minlength=256)
    known = counts[:classes]
    return torch.from_numpy(known / max(known.sum(), 1)).float()


def extent(field: Field, spec: NetworkSpec) -> tuple[int, int]:
    """Return a field's height and width in pixels of the network."""
    return _shape(field, _factors(spec))


def _factors(spec: NetworkSpec) -> dict[str, int]:
    """Return the network's pixels per pixel of each array, on a side."""
    return {name: bands[0].gsd // spec.gsd for name, bands in spec.arrays.items()}


def _shape(field: Field, factors: dict[str, int]) -> tuple[int, int]:
    name, factor = next(iter(factors.items()))
    return field.arrays[name].shape[1] * factor, field.arrays[name].shape[2] * factor
