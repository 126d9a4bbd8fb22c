"""The contrastive loss of UniFeat, location by location.

Montanaro et al. 2022, equation (1), which is decoupled contrastive learning (Yeh et al. 2022, arXiv
2110.06848) applied at every pixel: for a pair of bands with embeddings a and b, the anchor a_k of
patch k at a location is pulled to b_k of the same patch and location and pushed from a_l and b_l of
every other patch l at that location. Beyond that, embeddings at other locations can push too.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

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
        chunk: Locations of which logits and gathered keys are held at a time.
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
    keys_a, keys_b, valid = (_with_followers(p, spec.spatial) for p in (first, second, is_valid))
    valid_keys = gather_samples(valid.to(torch.uint8)).bool()
    here = valid_keys.reshape(len(valid), -1, valid.shape[1])[..., :samples]
    is_anchor = is_valid & (here.sum((1, 2)) > 1)[:, None]
    loss: Tensor = _Chunked.apply(keys_a, keys_b, valid_keys, is_anchor, spec)  # type: ignore[no-untyped-call]
    return loss


class _Chunked(torch.autograd.Function):
    """The loss of some locations after the other; the gradient of each is made with it.

    So no more is held than the logits and gathered keys of one chunk, and nothing is made twice.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        first: Tensor,
        second: Tensor,
        valid_keys: Tensor,
        is_anchor: Tensor,
        spec: ContrastSpec,
    ) -> Tensor:
        anchors = total_over_ranks(is_anchor.sum()).clamp(min=1)
        share = torch.ones_like(anchors, dtype=torch.float32) / anchors * world_size()
        gradients = [torch.empty_like(part) for part in (first, second)]
        totals = []
        for start in range(0, len(first), spec.chunk):
            at = slice(start, start + spec.chunk)
            with torch.enable_grad():
                a, b = (part[at].detach().requires_grad_() for part in (first, second))
                total = _total(a, b, valid_keys[at], is_anchor[at], spec)
            if any(ctx.needs_input_grad):
                found = torch.autograd.grad(total, (a, b), share)
                for whole, part in zip(gradients, found, strict=True):
                    whole[at] = part
            totals.append(total.detach())
        ctx.gradients = gradients
        return torch.stack(totals).sum() * world_size() / anchors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        # In place, as they are as large as the embeddings; a second pass finds none.
        first, second = (part.mul_(gradient) for part in ctx.gradients)
        del ctx.gradients
        return first, second, None, None, None


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


def _total(
    first: Float[Tensor, "location own dim"],
    second: Float[Tensor, "location own dim"],
    valid_keys: Bool[Tensor, "location key"],
    is_anchor: Bool[Tensor, "location sample"],
    spec: ContrastSpec,
) -> Float[Tensor, ""]:
    """Return the sum of the losses of a rank's anchors, which are the first of its own keys."""
    own_a, own_b = (F.normalize(part.float(), dim=-1) for part in (first, second))
    keys_a, keys_b = gather_samples(own_a), gather_samples(own_b)
    samples = is_anchor.shape[1]
    a, b = own_a[:, :samples], own_b[:, :samples]
    losses = [_anchored(a, b, keys_a, keys_b, valid_keys, spec)]
    if spec.symmetric:
        losses.append(_anchored(b, a, keys_b, keys_a, valid_keys, spec))
    return torch.where(is_anchor, torch.stack(losses).mean(0), 0.0).sum()


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
