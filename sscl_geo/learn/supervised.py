"""Finetuning: cross-entropy on the pixels that have a label."""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Segmenter


class JitterSpec(Frozen):
    """Radiometric augmentation: each sample's bands gain, shift and get noise, in z-scores.

    Attributes:
        gain: Standard deviation of the factor of each band.
        shift: Standard deviation of what is added to each band.
        noise: Standard deviation of what is added to each pixel of each band.
    """

    gain: float = Field(default=0.0, ge=0)
    shift: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)


class Finetune(nn.Module):
    """The supervised task.

    Args:
        segmenter: The network to train.
        jitter: How its inputs are augmented.
    """

    def __init__(self, segmenter: Segmenter, jitter: JitterSpec) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.jitter = jitter

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the mean cross-entropy over labelled pixels."""
        if batch.labels is None:
            raise InvalidInputError("finetuning needs labels; draw patches of labelled fields")
        bands = self.segmenter.encoder.normalise(batch.stored)
        logits = self.segmenter(self._jittered(bands, generator))
        return F.cross_entropy(logits.float(), batch.labels, ignore_index=IGNORED)

    def _jittered(
        self, bands: Normalised, generator: torch.Generator
    ) -> Float[Tensor, "batch band y x"]:
        values, spec = bands.values, self.jitter

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(values)

        batch, count, height, width = values.shape
        jittered = values * (1 + spec.gain * draw(batch, count, 1, 1))
        jittered = jittered + spec.shift * draw(batch, count, 1, 1)
        if spec.noise:
            jittered = jittered + spec.noise * draw(batch, count, height, width)
        return torch.where(bands.is_valid, jittered, 0.0)
