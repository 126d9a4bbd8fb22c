"""Contrast with hard negatives, corrected for those that are of the anchor's own class.

Robinson et al. 2021, "Contrastive learning with hard negative samples", equation (4) with the
debiasing of Chuang et al. 2020.
"""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sscl_geo.frozen import Frozen

FEWEST = 2


class DebiasedSpec(Frozen):
    """Numbers of the loss.

    Attributes:
        temperature: Divides the cosines.
        same_class: Assumed share of negatives that are of the anchor's class.
        hardness: Exponent by which similar negatives count more; 0 counts all alike.
    """

    temperature: float = Field(default=0.5, gt=0)
    same_class: float = Field(default=0.1, ge=0, lt=1)
    hardness: float = Field(default=1.0, ge=0)


def debiased_loss(
    first: Float[Tensor, "sample dim"], second: Float[Tensor, "sample dim"], spec: DebiasedSpec
) -> Float[Tensor, ""]:
    """Return the mean loss of all vectors, each with its partner as the positive.

    Args:
        first: Vectors of one view; they are normalised here, in float32.
        second: Vectors of the other view of the same things, in the same order.
        spec: Numbers.

    Of fewer than two things there is nothing to tell apart, and the loss is 0.
    """
    if len(first) < FEWEST:
        return (first.sum() + second.sum()) * 0
    with torch.autocast(first.device.type, enabled=False):
        return _loss(first.float(), second.float(), spec)


def _loss(
    first: Float[Tensor, "sample dim"], second: Float[Tensor, "sample dim"], spec: DebiasedSpec
) -> Float[Tensor, ""]:
    vectors = F.normalize(torch.cat([first, second]), dim=-1)
    count = len(first)
    similar = (vectors @ vectors.T / spec.temperature).exp()
    partner = torch.arange(2 * count, device=vectors.device).roll(count)
    own = torch.eye(2 * count, dtype=torch.bool, device=vectors.device)
    positive = similar.gather(1, partner[:, None])[:, 0]
    is_negative = ~(own | own[partner])
    negatives = similar[is_negative].reshape(2 * count, 2 * count - 2)
    weights = negatives**spec.hardness
    reweighted = (weights * negatives).sum(1) / weights.mean(1)
    others = negatives.shape[1]
    corrected = (reweighted - spec.same_class * others * positive) / (1 - spec.same_class)
    floor = others * math.exp(-1 / spec.temperature)
    loss: Tensor = -torch.log(positive / (positive + corrected.clamp(min=floor))).mean()
    return loss
