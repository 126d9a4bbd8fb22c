"""Batch statistics of a network that is not trained."""

from collections.abc import Callable

import torch
from torch import nn

from sscl_geo.learn.batches import Batch
from sscl_geo.learn.network import Encoder

STEPS = 20
"""Batches that are looked at."""


def measure_statistics(encoder: Encoder, draw: Callable[[int], Batch]) -> None:
    """Replace the running statistics of batch norms by means over undamaged batches.

    Those of a random network were never measured, and those of CoRe saw dropped bands.
    """
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
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
