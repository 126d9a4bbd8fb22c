"""Windows as a network will see them, and its batch statistics on them."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.batches import Batch, Field
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.patches import ALIGNMENT, DrawSpec, Patches, Sampling, extent
from sscl_geo.learn.spec import NetworkSpec

STEPS = 20
"""Batches that are looked at."""

WINDOWS = 8
"""Windows in a batch of them."""

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


def windows(
    fields: Sequence[Field],
    spec: NetworkSpec,
    window: int,
    seed: int,
    sampling: Sampling = "area",
) -> Patches:
    """Return draws of windows as large as those that will be mapped, to measure on.

    Patches of training are smaller. More of them is padding, and less is what image pooling sees,
    so their statistics fit no map: a network that learned well then maps badly. Touvron et al.
    2019, "Fixing the train-test resolution discrepancy", measure anew for the same reason.

    Args:
        fields: Where windows come from.
        spec: The network.
        window: Side of a window in pixels; where no field is as large, or none has so large a
            window of which half was observed, windows are smaller.
        seed: Seed of what is drawn.
        sampling: How windows are drawn.

    Raises:
        InvalidInputError: No field has any observed ground, or labels where they decide.
    """
    side = min(window, max(min(extent(field, spec)) for field in fields))
    while True:
        side -= side % ALIGNMENT
        try:
            return Patches(tuple(fields), spec, DrawSpec(side, WINDOWS, seed + SEED, sampling))
        except InvalidInputError:
            if side <= ALIGNMENT:
                raise
            side //= 2
