"""Finetuning: cross-entropy on the pixels that have a label."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.network import Segmenter


class Finetune(nn.Module):
    """The supervised task.

    Args:
        segmenter: The network to train.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the mean cross-entropy over labelled pixels."""
        del generator
        if batch.labels is None:
            raise InvalidInputError("finetuning needs labels; draw patches of labelled fields")
        logits = self.segmenter(self.segmenter.encoder.normalise(batch.stored).values)
        return F.cross_entropy(logits.float(), batch.labels, ignore_index=IGNORED)
