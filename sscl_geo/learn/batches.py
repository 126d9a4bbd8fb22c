"""Batches of patches, and the fields that they are drawn from."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from torch import Tensor

from sscl_geo.learn.inputs import Stored

IGNORED = 255
"""Class index of a pixel without a label."""


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


def joined(batches: Iterable[Batch]) -> Batch:
    """Return batches as one; samples of unlabelled batches have no label at any pixel."""
    parts = list(batches)
    if len(parts) == 1:
        return parts[0]
    stored = {name: torch.cat([part.stored[name] for part in parts]) for name in parts[0].stored}
    sizes = {part.labels.shape[1:] for part in parts if part.labels is not None}
    if not sizes:
        return Batch(stored, None)
    (size,) = sizes
    return Batch(stored, torch.cat([_labels(part, size) for part in parts]))


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


def _labels(batch: Batch, size: torch.Size) -> Int64[Tensor, "batch y x"]:
    if batch.labels is not None:
        return batch.labels
    some = next(iter(batch.stored.values()))
    return torch.full((len(some), *size), IGNORED, device=some.device)


def shares(fields: Sequence[Field], classes: int) -> Float32[Tensor, " class"]:
    """Return each class's share of the labelled pixels."""
    counts = np.zeros(256, np.int64)
    for field in fields:
        # Row by row, as counting makes eight bytes of each pixel.
        for row in () if field.labels is None else field.labels:
            counts += np.bincount(row, minlength=256)
    known = counts[:classes]
    return torch.from_numpy(known / max(known.sum(), 1)).float()
