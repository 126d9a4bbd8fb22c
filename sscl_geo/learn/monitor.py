"""What a pretext task tells of a step besides its loss, as means over an epoch and all ranks."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sscl_geo.learn.gather import total_over_ranks

LOCATIONS = 16
"""Locations on which embeddings are compared; more would cost, and tell the same."""

SHARPNESS = 2.0
"""Factor of the squared distance in the uniformity of Wang and Isola."""


class Measures(NamedTuple):
    """Numbers by name, each a total over a count of what it is a mean of."""

    names: tuple[str, ...] = ()
    totals: Float[Tensor, " name"] = torch.zeros(0)
    counts: Float[Tensor, " name"] = torch.zeros(0)

    @classmethod
    def of(cls, measures: Mapping[str, tuple[Tensor, Tensor]]) -> "Measures":
        """Return scalars by name, each a total and a count, as measures."""
        totals, counts = zip(*measures.values(), strict=True)
        return cls(tuple(measures), torch.stack(totals).detach(), torch.stack(counts).detach())

    def plus(self, other: "Measures") -> "Measures":
        """Return the measures of two steps together; one of them may have none yet."""
        if not self.names or not other.names:
            return self if self.names else other
        return Measures(self.names, self.totals + other.totals, self.counts + other.counts)

    def means(self) -> dict[str, float]:
        """Return the means over all ranks, which all call it, without what was never counted."""
        if not self.names:
            return {}
        both = total_over_ranks(torch.stack([self.totals, self.counts])).tolist()
        told = zip(self.names, *both, strict=True)
        return {name: total / count for name, total, count in told if count}


@torch.no_grad()
def collapse(
    first: Float[Tensor, "location sample dim"],
    second: Float[Tensor, "location sample dim"],
    is_valid: Bool[Tensor, "location sample"],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return totals and counts of what tells whether embeddings collapse to one.

    Alignment is the mean cosine of a sample's two embeddings (1 is best), the pairwise cosine that
    of two samples' (1 is collapse), uniformity the logarithm of the mean of exp(-2 d^2) over their
    distances d (0 is collapse; Wang and Isola 2020, arXiv 2005.10242), and retrieval the share of
    samples whose nearest embedding of the other band is their own.

    Args:
        first: Embeddings of one band.
        second: Embeddings of the other.
        is_valid: Where both bands were observed.
    """
    valid = is_valid[:LOCATIONS].float()
    a, b = (F.normalize(one[:LOCATIONS].float(), dim=-1) for one in (first, second))
    own = (a * b).sum(-1)
    pairs = valid[:, :, None] * valid[:, None, :]
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=1, dim2=2))
    cosines = torch.einsum("pkd,pld->pkl", a, a)
    kernel = torch.exp(2 * SHARPNESS * (cosines - 1))
    there = pairs.sum((1, 2))
    spread = (kernel * pairs).sum((1, 2)) / there.clamp(min=1)
    others = torch.einsum("pkd,pld->pkl", a, b).masked_fill(~is_valid[:LOCATIONS, None], -2.0)
    found = (others.argmax(-1) == torch.arange(a.shape[1], device=a.device)).float()
    is_compared = (there > 0).float()
    return {
        "alignment": ((own * valid).sum(), valid.sum()),
        "pairwise_cosine": ((cosines * pairs).sum(), pairs.sum()),
        "uniformity": ((spread.clamp(min=1e-9).log() * is_compared).sum(), is_compared.sum()),
        "retrieval": ((found * valid).sum(), valid.sum()),
    }
