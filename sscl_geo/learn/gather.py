"""Gathering embeddings over ranks so that gradients are those of one process.

The gradient of a loss over keys of all ranks reaches a rank's embeddings from every rank's loss, so
the backward pass sums over ranks and gives each its own part of the sum. Shortcuts that keep the
local part only, or let no gradient through the keys, show the same loss and another gradient.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int64, Shaped
from torch import Tensor


class _GatherSamples(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - torch's own signature
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        parts = [part.contiguous() for part in gradient.chunk(dist.get_world_size(), 1)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts)
        return own


def world_size() -> int:
    """Return the number of ranks that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_samples(
    local: Shaped[Tensor, "location sample *rest"],
) -> Shaped[Tensor, "location samples *rest"]:
    """Return the samples of all ranks, in the order of ranks; every rank must have equally many."""
    if world_size() == 1:
        return local
    gathered: Tensor = _GatherSamples.apply(local)  # type: ignore[no-untyped-call]
    return gathered


def total_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks, without gradient."""
    summed = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(summed)
    return summed


def check_alike(drawn: Int64[Tensor, " number"], device: torch.device) -> None:
    """Compare a checksum of numbers that every rank must have drawn alike.

    Args:
        drawn: This rank's numbers.
        device: Where ranks exchange tensors.

    Raises:
        RuntimeError: Ranks drew other numbers, so that a loss over all of them means nothing.
    """
    if world_size() == 1:
        return
    checksum = (drawn * torch.arange(1, len(drawn) + 1)).sum()
    extremes = torch.stack([checksum, -checksum]).to(device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    if int(extremes.sum()) != 0:
        raise RuntimeError("ranks drew other bands or locations; their seeds and steps differ")


def share_of_ranks(amount: Tensor) -> Tensor:
    """Return this rank's amount over the mean of all ranks'.

    A mean over a rank's pixels times the share of their number is what, averaged over ranks as DDP
    averages gradients, is the mean over all pixels: ranks do not have equally many labels.
    """
    mine = amount.detach().float()
    mean = total_over_ranks(mine) / world_size()
    return mine / mean.clamp(min=torch.finfo(mean.dtype).tiny)


def first_sample(local_samples: int) -> int:
    """Return where this rank's samples start among those of all ranks."""
    return dist.get_rank() * local_samples if world_size() > 1 else 0
