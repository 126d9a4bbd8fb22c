"""Early stopping: keep the weights of the epoch that did best on labels that none learned from."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.gather import total_over_ranks
from sscl_geo.learn.network import Segmenter

STEPS = 20
"""Batches that a validation looks at, the same after every epoch."""


class Validation(NamedTuple):
    """How well a phase does on what it does not learn from.

    Attributes:
        loss: Returns it, the same on every rank; it leaves weights and buffers as they were.
        patience: Epochs without a lower one after which the phase ends; None never ends it early.
    """

    loss: Callable[[], float]
    patience: int | None


class Best(NamedTuple):
    """The best epoch so far.

    Attributes:
        loss: Its loss on the validation; infinite before the first.
        epoch: Its number.
        weights: The model's state after it, on the CPU.
    """

    loss: float
    epoch: int
    weights: dict[str, Tensor]

    def after(self, loss: float, epoch: int, model: nn.Module) -> "Best":
        """Return the better of this and another epoch; of two alike, the first."""
        if loss >= self.loss:
            return self
        state = {
            name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()
        }
        return Best(loss, epoch, state)

    def is_stale(self, epoch: int, patience: int | None) -> bool:
        """Return whether an epoch is so far from the best that none better is waited for."""
        return patience is not None and epoch - self.epoch >= patience


@torch.no_grad()
def validation_loss(
    segmenter: Segmenter, draw: Callable[[int], Batch], rank: int, world: int
) -> float:
    """Return the mean cross-entropy in nats of all labelled pixels of some batches.

    Whatever loss a study trains with, this one chooses, which counts every pixel alike. Every rank
    takes its share of the batches and gets the mean of all. The network is in inference mode
    afterwards.

    Raises:
        InvalidInputError: A batch has no labels.
    """
    segmenter.eval()
    total = torch.zeros(2, dtype=torch.float64)
    for step in range(rank, STEPS, world):
        batch = draw(step)
        labels = batch.labels
        if labels is None:
            raise InvalidInputError("a validation needs labels; draw patches of labelled fields")
        bands = segmenter.encoder.normalise(batch.stored)
        logits = segmenter(bands.values, bands.is_absent).float()
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        total += torch.stack([loss.double(), (labels != IGNORED).sum().double()]).cpu()
    # Of every patch that is drawn around a label, at least that pixel counts.
    loss_sum, count = total_over_ranks(total.to(segmenter.head.layer.weight.device)).tolist()
    return float(loss_sum / count)
