"""CoRe: reconstruct the clean image from one with dropped bands, cutouts and blur."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.degradations import DegradationSpec, band_groups, degrade
from sscl_geo.learn.gather import share_of_ranks
from sscl_geo.learn.monitor import Measures
from sscl_geo.learn.network import Encoder, PixelHead


class Settings(Frozen):
    """Strengths of CoRe.

    Attributes:
        degradation: How images are damaged.
    """

    degradation: DegradationSpec = DegradationSpec()


class CoRe(nn.Module):
    """The pretext task: trains the whole encoder; its reconstruction head is thrown away.

    Args:
        encoder: The encoder to train.
        settings: Strengths.
    """

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        self.head = PixelHead(encoder.spec.backbone.context_width, len(encoder.spec.bands))
        self.register_buffer("groups", band_groups(encoder.spec), persistent=False)
        self.measured = Measures()

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return this rank's part of the mean absolute error of observed pixels, in z-scores."""
        bands = self.encoder.normalise(batch.stored)
        groups = self.get_buffer("groups")
        degraded = degrade(
            bands.values, bands.is_absent, groups, self.settings.degradation, generator
        )
        size = (bands.values.shape[2], bands.values.shape[3])
        rebuilt = self.head(
            self.encoder(degraded.bands, degraded.is_dropped | bands.is_absent), size
        )
        error = (rebuilt - bands.values).abs() * bands.is_valid
        is_hidden = degraded.is_dropped[:, :, None, None] | degraded.is_cut[:, None]
        self.measured = self._measured(error.detach(), bands.is_valid, is_hidden)
        observed = bands.is_valid.sum()
        loss: Tensor = error.sum() / observed.clamp(min=1) * share_of_ranks(observed)
        return loss

    def _measured(
        self,
        error: Float[Tensor, "batch band y x"],
        is_valid: Bool[Tensor, "batch band y x"],
        is_hidden: Bool[Tensor, "batch band y x"],
    ) -> Measures:
        """Return the error of each band where it was hidden, and where it was only blurred."""
        names: list[str] = []
        totals, counts = [], []
        for name, where in (("hidden", is_valid & is_hidden), ("seen", is_valid & ~is_hidden)):
            names += [f"{name}_error/{band.name}" for band in self.encoder.spec.bands]
            totals.append((error * where).sum((0, 2, 3)))
            counts.append(where.sum((0, 2, 3)).float())
        return Measures(tuple(names), torch.cat(totals), torch.cat(counts))


def build(encoder: Encoder, settings: Settings) -> CoRe:
    """Return the task for an encoder."""
    return CoRe(encoder, settings)
