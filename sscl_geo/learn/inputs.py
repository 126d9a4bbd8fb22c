"""From stored numbers to what a network computes with; training and mapping share it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.geo.inputs import LARGEST_SCORE, BandInput
from sscl_geo.learn.spec import NetworkSpec

Stored = dict[str, Tensor]
"""Stored numbers `(batch, band, y, x)` of each array, at the array's own resolution."""


class Normalised(NamedTuple):
    """Bands on one grid as z-scores, 0 where there is no observation; and where there is one.

    Nodata is none, and neither is a number that is not finite.
    """

    values: Float32[Tensor, "batch band y x"]
    is_valid: Bool[Tensor, "batch band y x"]

    @property
    def is_absent(self) -> Bool[Tensor, "batch band"]:
        """Which bands have no observation at all in a sample."""
        return ~self.is_valid.flatten(2).any(2)


class Normalise(nn.Module):
    """Clips, z-scores and brings every band to the network's grid (coarser ones bilinearly).

    Of a band with a `log_offset`, the logarithm is z-scored.

    Args:
        spec: The network whose inputs it makes.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self._arrays = spec.arrays
        self._gsd = spec.gsd

    def forward(self, stored: Stored) -> Normalised:
        """Return the bands of all arrays, in the order of the network's spec."""
        parts = [self._array(name, stored[name]) for name in self._arrays]
        values, valid = zip(*parts, strict=True)
        return Normalised(torch.cat(values, 1), torch.cat(valid, 1))

    def _array(self, name: str, stored: Tensor) -> tuple[Tensor, Tensor]:
        bands = self._arrays[name]
        low, high, mean, spread, offset = _columns(bands, stored.device)
        numbers = stored.float()
        is_valid = (numbers != bands[0].nodata) & numbers.isfinite()
        entering = numbers.clamp(low, high)
        if any(band.log_offset for band in bands):
            entering = torch.where(offset > 0, (entering - low + offset).log(), entering)
        scores = ((entering - mean) / spread).clamp(-LARGEST_SCORE, LARGEST_SCORE)
        scores = torch.where(is_valid, scores, 0.0)
        factor = bands[0].gsd // self._gsd
        if factor == 1:
            return scores, is_valid
        finer = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
        fine = is_valid.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        return torch.where(fine, finer, 0.0), fine


def _columns(bands: tuple[BandInput, ...], device: torch.device) -> tuple[Tensor, ...]:
    rows = torch.tensor(
        [[b.low, b.high, b.mean, b.spread, b.log_offset or 0.0] for b in bands], device=device
    )
    return rows.float().T[:, None, :, None, None].unbind(0)
