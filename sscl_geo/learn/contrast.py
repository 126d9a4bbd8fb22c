"""The contrastive loss of UniFeat, location by location.

Montanaro et al. 2022, equation (1), which is decoupled contrastive learning (Yeh et al. 2022, arXiv
2110.06848) applied at every pixel: for a pair of bands with embeddings a and b, the anchor a_k of
patch k at a location is pulled to b_k of the same patch and location and pushed from a_l and b_l of
every other patch l at that location. Beyond that, embeddings at other locations can push too.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sscl_geo.frozen import Frozen
from sscl_geo.learn.gather import first_sample, gather_samples, total_over_ranks, world_size


class ContrastSpec(Frozen):
    """Switches of the loss.

    Attributes:
        temperature: Divides the cosines.
        positive_in_denominator: False is the loss of Montanaro et al. 2022; true is NT-Xent
            (Chen et al. 2020).
        symmetric: Whether anchors come from both bands in turn; those of Montanaro et al. 2022 are
            from the first.
        spatial: How many other locations push an anchor with the embeddings of all patches, its own
            too: those that follow its own in the order in which locations were drawn; Montanaro et
            al. 2022 have none.
        chunk: Locations whose logits are held at a time; where there are more, they are computed
            again for the gradient, which is exact.
    """

    temperature: float = Field(default=0.1, gt=0)
    positive_in_denominator: bool = False
    symmetric: bool = True
    spatial: int = Field(default=0, ge=0)
    chunk: PositiveInt = 512


def contrastive_loss(
    first: Float[Tensor, "location sample dim"],
    second: Float[Tensor, "location sample dim"],
    is_valid: Bool[Tensor, "location sample"],
    spec: ContrastSpec,
) -> Float[Tensor, ""]:
    """Return the mean loss over valid anchors of all ranks.

    Args:
        first: Embeddings of one band, of any length; they are normalised here, in float32.
        second: Embeddings of the other band at the same places.
        is_valid: Where both bands were observed. Elsewhere a sample is neither anchor nor key. A
            location with fewer than two valid samples has no anchor.
        spec: Switches.

    Over W ranks the value is this rank's share: the mean of the gradients over ranks, as DDP takes
    it, is the gradient of one process that holds all samples.
    """
    samples = first.shape[1]
    keys = [_with_followers(part, spec.spatial) for part in (first, second, is_valid)]
    parts = [torch.split(part, spec.chunk) for part in keys]
    totals, anchors = [], []
    for a, b, valid in zip(*parts, strict=True):
        embedded = _embedded(a, b, valid, samples)
        # Without re-entrance, so that gradients pass through the tuple.
        total = (
            checkpoint(_total, embedded, spec, use_reentrant=False)
            if len(first) > spec.chunk
            else _total(embedded, spec)
        )
        totals.append(total)
        anchors.append(embedded.is_anchor.sum())
    count = total_over_ranks(torch.stack(anchors).sum()).clamp(min=1)
    return torch.stack(totals).sum() * world_size() / count


def negatives(
    is_valid: Bool[Tensor, "location sample"], spec: ContrastSpec
) -> Float[Tensor, " location"]:
    """Return how many embeddings of all ranks push an anchor of each location, 0 without anchors.

    A loss less the logarithm of their number compares between batches, and numbers of ranks.
    """
    at_location = total_over_ranks(is_valid.sum(1).float())
    keys = _with_followers(at_location[:, None], spec.spatial).sum(1)
    return torch.where(at_location > 1, 2 * (keys - 1), 0.0)


def _with_followers(part: Tensor, count: int) -> Tensor:
    """Append to each location's samples those of so many that follow it, the first after the last.

    A location does not follow itself, so there are no more than all others.
    """
    turns = range(min(count, len(part) - 1) + 1)
    return part if len(turns) == 1 else torch.cat([part.roll(-turn, 0) for turn in turns], 1)


class _Embedded(NamedTuple):
    a: Float[Tensor, "location sample dim"]
    b: Float[Tensor, "location sample dim"]
    keys_a: Float[Tensor, "location key dim"]
    keys_b: Float[Tensor, "location key dim"]
    valid_keys: Bool[Tensor, "location key"]
    is_anchor: Bool[Tensor, "location sample"]


def _embedded(
    first: Float[Tensor, "location own dim"],
    second: Float[Tensor, "location own dim"],
    is_valid: Bool[Tensor, "location own"],
    samples: int,
) -> _Embedded:
    """Return anchors, the first so many of a rank's own keys, and the keys of all ranks."""
    own_a, own_b = (F.normalize(part.float(), dim=-1) for part in (first, second))
    valid_keys = gather_samples(is_valid.to(torch.uint8)).bool()
    here = valid_keys.reshape(len(valid_keys), -1, is_valid.shape[1])[..., :samples]
    is_anchor = is_valid[:, :samples] & (here.sum((1, 2)) > 1)[:, None]
    return _Embedded(
        own_a[:, :samples],
        own_b[:, :samples],
        gather_samples(own_a),
        gather_samples(own_b),
        valid_keys,
        is_anchor,
    )


def _total(e: _Embedded, spec: ContrastSpec) -> Float[Tensor, ""]:
    losses = [_anchored(e.a, e.b, e.keys_a, e.keys_b, e.valid_keys, spec)]
    if spec.symmetric:
        losses.append(_anchored(e.b, e.a, e.keys_b, e.keys_a, e.valid_keys, spec))
    return torch.where(e.is_anchor, torch.stack(losses).mean(0), 0.0).sum()


def _anchored(
    anchors: Float[Tensor, "location sample dim"],
    positives: Float[Tensor, "location sample dim"],
    same: Float[Tensor, "location key dim"],
    other: Float[Tensor, "location key dim"],
    valid_keys: Bool[Tensor, "location key"],
    spec: ContrastSpec,
) -> Float[Tensor, "location sample"]:
    own = _own(anchors.shape[1], same.shape[1], anchors.device)
    unseen = ~valid_keys[:, None, :]
    kept_positive = unseen if spec.positive_in_denominator else unseen | own
    denominator = torch.logaddexp(
        _sum_over_keys(anchors, same, unseen | own, spec.temperature),
        _sum_over_keys(anchors, other, kept_positive, spec.temperature),
    )
    return denominator - (anchors * positives).sum(-1) / spec.temperature


def _own(samples: int, keys: int, device: torch.device) -> Bool[Tensor, "sample key"]:
    """Return where a key is its anchor's own patch at its own location."""
    own = torch.zeros(samples, keys, dtype=torch.bool, device=device)
    start = first_sample(keys // world_size())
    own[:, start : start + samples].fill_diagonal_(fill_value=True)
    return own


def _sum_over_keys(
    anchors: Float[Tensor, "location sample dim"],
    keys: Float[Tensor, "location key dim"],
    is_left_out: Bool[Tensor, "location _ key"],
    temperature: float,
) -> Float[Tensor, "location sample"]:
    """Return the logarithm of the sum of exponentials; one array of logits is all that is held."""
    lowest = torch.finfo(torch.float32).min
    left_out = torch.zeros_like(is_left_out, dtype=torch.float32).masked_fill_(is_left_out, lowest)
    logits = torch.baddbmm(left_out, anchors, keys.mT, alpha=1 / temperature)
    return torch.logsumexp(logits, -1)
