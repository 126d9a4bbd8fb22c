"""How long and how fast a phase of training learns."""

import math
from typing import Literal

from pydantic import Field

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.learn.patches import ALIGNMENT

SMALLEST_SHARE = 2
"""Batch norm needs two samples."""


class Schedule(Frozen):
    """How long and how fast a phase learns.

    Attributes:
        epochs: Number of epochs; there is a checkpoint after each.
        steps: Optimiser steps per epoch.
        batch: Samples per step over all ranks.
        patch: Side of a patch in pixels of the network.
        optimizer: `adamw`, or `sgd` with a momentum of 0.9.
        learning_rate: Peak rate.
        head_learning_rate: Peak rate of new heads; `learning_rate` if None.
        weight_decay: Weight decay, which AdamW decouples from the gradient.
        precision: Type in which convolutions compute; losses and weights stay in float32. `auto` is
            bfloat16 where the device computes in it and float32 elsewhere, where bfloat16 would be
            emulated, and slower than either.
        warmup: Share of all steps over which the rate rises from 0; it then falls as a half cosine.
        accumulate: Parts in which a batch is computed, for less memory; the loss is the mean of
            theirs, so contrast sees only the samples of its part.
    """

    epochs: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    patch: int = Field(ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    accumulate: int = Field(default=1, ge=1)

    @property
    def total(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * self.steps

    def check(self, ranks: int) -> None:
        """Check that ranks share a batch evenly, two samples or more each.

        Raises:
            InvalidInputError: The batch does not divide so, or the patch is odd.
        """
        share, rest = divmod(self.batch, max(ranks, 1) * self.accumulate)
        if rest or share < SMALLEST_SHARE or self.patch % ALIGNMENT:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise InvalidInputError(
                f"batch {self.batch} of patches of {self.patch} px on {ranks} ranks{parts}: the "
                "batch must be a multiple of the ranks (and parts) with two samples or more each, "
                "and the patch even"
            )

    def rate(self, step: int, *, decays: bool = True) -> float:
        """Return the share of the peak rate at a step; once warmed up, all of it if none decays."""
        rising = max(int(self.warmup * self.total), 1)
        if step < rising or not decays:
            return min((step + 1) / rising, 1.0)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(self.total - rising, 1)))
