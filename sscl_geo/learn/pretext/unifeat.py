"""UniFeat: features of the same place in different bands and sensors are pulled together."""

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.contrast import ContrastSpec, contrastive_loss, negatives
from sscl_geo.learn.gather import check_alike
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.monitor import Measures, collapse
from sscl_geo.learn.network import Encoder


class Settings(Frozen):
    """Strengths of UniFeat.

    Attributes:
        contrast: Switches of the loss.
        dim: Length of an embedding.
        hidden: Width of the projection's middle, whatever the features' is.
        locations: Locations drawn per step, without replacement, the same for all samples; all
            pixels if there are fewer.
        pairs: Pairs of bands that are contrasted per batch; their losses are averaged.
        cross_modal_probability: Chance that the two bands are of two sensors, where there are two;
            None draws every pair of bands equally often, as Montanaro et al. 2022 do.
    """

    contrast: ContrastSpec = ContrastSpec()
    dim: int = Field(default=64, ge=2)
    hidden: int = Field(default=64, ge=2)
    locations: int = Field(default=4096, ge=1)
    pairs: int = Field(default=1, ge=1)
    cross_modal_probability: float | None = Field(default=None, ge=0, le=1)


class UniFeat(nn.Module):
    """The pretext task: trains the feature extractor; its projection is thrown away.

    Args:
        encoder: The encoder whose feature extractor is trained.
        settings: Strengths.
    """

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        super().__init__()
        if len(encoder.spec.bands) < 2:  # noqa: PLR2004 - a pair
            raise InvalidInputError("UniFeat contrasts two bands; the cubes have only one")
        if encoder.spec.features.layers == 0:
            raise InvalidInputError(
                "UniFeat trains the feature extractor; features.layers 0 has none, so leave it out"
            )
        self.settings = settings
        self.normalise = encoder.normalise
        self.features = encoder.features
        self.projection = nn.Sequential(
            nn.Conv2d(encoder.features.width, settings.hidden, 1),
            nn.BatchNorm2d(settings.hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(settings.hidden, settings.dim, 1),
        )
        self._sensors = [band.name.split(":")[0] for band in encoder.spec.bands]
        self._is_checked = False
        self.measured = Measures()

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the loss of a batch for pairs of bands, equal on all ranks by the generator."""
        bands: Normalised = self.normalise(batch.stored)
        self.measured = Measures()
        losses = [self._of_pair(bands, generator) for _ in range(self.settings.pairs)]
        return torch.stack(losses).mean()

    def _of_pair(self, bands: Normalised, generator: torch.Generator) -> Float[Tensor, ""]:
        pair = self._pair(generator)
        values, valid = bands.values[:, pair], bands.is_valid[:, pair].all(1)
        batch, _, height, width = values.shape
        chosen = torch.randperm(height * width, generator=generator)[: self.settings.locations]
        if not self._is_checked:
            # Once, as it waits for the device: seeds and steps that differ do so from the first.
            check_alike(torch.cat([torch.tensor(pair), chosen]), values.device)
            self._is_checked = True
        flat = self.features(values).reshape(batch * 2, -1, height, width)
        embedded = self.projection(flat).flatten(2)[:, :, chosen.to(values.device)]
        by_location = embedded.reshape(batch, 2, self.settings.dim, -1).permute(1, 3, 0, 2)
        is_valid = valid.flatten(1)[:, chosen.to(values.device)].T
        return self._loss(by_location, is_valid)

    def _loss(
        self,
        embedded: Float[Tensor, "pair location sample dim"],
        is_valid: Bool[Tensor, "location sample"],
    ) -> Float[Tensor, ""]:
        spec = self.settings.contrast
        with torch.autocast(embedded.device.type, enabled=False):
            loss = contrastive_loss(embedded[0], embedded[1], is_valid, spec)
            told = collapse(embedded[0], embedded[1], is_valid)
        number = negatives(is_valid, spec)
        is_pushed = number > 0
        told["negatives"] = (number.sum(), is_pushed.sum())
        # At collapse the loss is the logarithm of the number of negatives.
        chance = torch.where(is_pushed, number, 1).log().sum() / is_pushed.sum().clamp(min=1)
        told["loss_minus_log_negatives"] = (loss - chance, torch.ones_like(loss))
        self.measured = self.measured.plus(
            Measures.of({f"monitor/{k}": v for k, v in told.items()})
        )
        return loss

    def _pair(self, generator: torch.Generator) -> list[int]:
        pairs = [(one, two) for two in range(len(self._sensors)) for one in range(two)]
        cross = [pair for pair in pairs if self._sensors[pair[0]] != self._sensors[pair[1]]]
        wanted = self.settings.cross_modal_probability
        if wanted is not None and cross and len(cross) < len(pairs):
            is_cross = torch.rand((), generator=generator) < wanted
            pairs = cross if is_cross else [pair for pair in pairs if pair not in cross]
        index = int(torch.randint(len(pairs), (), generator=generator))
        return list(pairs[index])


def build(encoder: Encoder, settings: Settings) -> UniFeat:
    """Return the task for an encoder."""
    return UniFeat(encoder, settings)
