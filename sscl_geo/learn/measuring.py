"""Batch statistics of a network as it will be used."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from sscl_geo.learn.batches import ALIGNMENT, Batch, DrawSpec, Field, Patches, extent
from sscl_geo.learn.network import Encoder

STEPS = 20
"""Batches that are looked at."""

WINDOWS = 8
"""Windows in each of them, where windows are looked at."""

SEED = 900
"""What sets the draws of windows apart from those of patches."""


def measure_statistics(encoder: Encoder, draw: Callable[[int], Batch]) -> None:
    """Replace the running statistics of batch norms by means over undamaged batches.

    Those of a random network were never measured, and those of CoRe saw dropped bands.
    """
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    encoder.eval()  # without dropout, as the statistics will be used
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for step in range(STEPS):
            bands = encoder.normalise(draw(step).stored)
            encoder(bands.values, bands.is_absent)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def measure_on_windows(
    encoder: Encoder, fields: Sequence[Field], window: int, seed: int, device: torch.device
) -> None:
    """Replace the running statistics by those of windows as large as those that will be mapped.

    Patches of training are smaller. More of them is padding, and less is what image pooling sees,
    so their statistics fit no map: a network that learned well then maps badly. Touvron et al.
    2019, "Fixing the train-test resolution discrepancy", measure anew for the same reason.

    Args:
        encoder: The network, on `device`.
        fields: Where windows come from; smaller windows are drawn of smaller fields.
        window: Side of a window in pixels.
        seed: Seed of what is drawn.
        device: Where to compute.
    """
    side = min(window, max(min(extent(field, encoder.spec)) for field in fields))
    draw = DrawSpec(side // ALIGNMENT * ALIGNMENT, WINDOWS, seed + SEED, "area")
    patches = Patches(tuple(fields), encoder.spec, draw)
    measure_statistics(encoder, lambda step: patches.batch(step, 0, 1, device))
