"""SimSiam: two views of an image predict each other, without negatives.

Chen and He 2021, "Exploring simple siamese representation learning". Montanaro et al. 2022 compare
with it in Tables I and II and leave the way open in which it feeds a segmentation network. Image
level: the penultimate map is pooled. Dense: every pixel of the ground that both views share, by the
1x1 convolutions of the same heads.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.degradations import BlurSpec
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.views import drawn_view, on_the_image


class Settings(Frozen):
    """Strengths of SimSiam.

    Attributes:
        level: Whether whole images or pixels predict each other.
        width: Planes of the projection.
        hidden: Planes inside the predictor.
        smallest_crop: Smallest share of an image's area that a view takes.
        blur: Chance and strength of the blur.
        is_predictor_steady: Whether the predictor's rate does not decay, as in the authors' code.
    """

    level: Literal["image", "dense"] = "image"
    width: int = Field(default=2048, ge=2)
    hidden: int = Field(default=512, ge=2)
    smallest_crop: float = Field(default=0.2, gt=0, le=1)
    blur: BlurSpec = BlurSpec()
    is_predictor_steady: bool = False


class SimSiam(nn.Module):
    """The pretext task: trains the whole encoder; projection and predictor are thrown away.

    Args:
        encoder: The encoder to train.
        settings: Strengths.
    """

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        planes, width = encoder.spec.backbone.context_width, settings.width
        self.projection = nn.Sequential(
            *_layer(planes, width),
            *_layer(width, width),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width, affine=False),
        )
        self.predictor = nn.Sequential(
            *_layer(width, settings.hidden), nn.Conv2d(settings.hidden, width, 1)
        )
        self.steady = ("predictor.",) if settings.is_predictor_steady else ()

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the negative cosine of predictions with the other view's projections."""
        bands: Normalised = self.encoder.normalise(batch.stored)
        images = bands.values
        smallest, blur = self.settings.smallest_crop, self.settings.blur
        views = [drawn_view(images, smallest, blur, generator) for _ in range(2)]
        maps = [self.encoder(view.images, bands.is_absent) for view in views]
        if self.settings.level == "image":
            pooled = [context.mean((2, 3), keepdim=True) for context in maps]
            projected = [self.projection(one) for one in pooled]
            shared = torch.ones_like(projected[0][:, 0], dtype=torch.bool)
            predicted = [self.predictor(one) for one in projected]
        else:
            there = [self.projection(one) for one in maps]
            predicted = [self.predictor(one) for one in there]
            back = [on_the_image(*pair) for pair in zip(there, views, strict=True)]
            projected = [features for features, _ in back]
            predicted = [on_the_image(*pair)[0] for pair in zip(predicted, views, strict=True)]
            shared = back[0][1] & back[1][1]
        towards = [
            _cosine(predicted[0], projected[1].detach()),
            _cosine(predicted[1], projected[0].detach()),
        ]
        similarity = (torch.stack(towards).mean(0) * shared).sum() / shared.sum().clamp(min=1)
        return -similarity


def _cosine(
    one: Float[Tensor, "batch plane y x"], other: Float[Tensor, "batch plane y x"]
) -> Float[Tensor, "batch y x"]:
    return F.cosine_similarity(one.float(), other.float(), dim=1)


def _layer(planes: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(planes, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def build(encoder: Encoder, settings: Settings) -> SimSiam:
    """Return the task for an encoder."""
    return SimSiam(encoder, settings)
