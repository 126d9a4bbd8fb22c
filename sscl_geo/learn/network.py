"""The whole network: normalise, features of every band, backbone, and heads on its last map."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo import plugins
from sscl_geo.learn.features import FeatureExtractor
from sscl_geo.learn.inputs import Normalise
from sscl_geo.learn.spec import NetworkSpec

BACKBONES = "sscl_geo.learn.backbones"


class Encoder(nn.Module):
    """What pretraining makes: the feature extractor and the backbone.

    Args:
        spec: The network.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.normalise = Normalise(spec)
        self.features = FeatureExtractor(spec.features)
        self.masks = _masks(spec) if spec.has_masks else None
        planes = len(spec.bands) * spec.features.width
        self.backbone: nn.Module = plugins.find(BACKBONES, spec.backbone.name).build(
            planes, spec.backbone
        )

    def forward(
        self,
        bands: Float[Tensor, "batch band y x"],
        is_absent: Bool[Tensor, "batch band"] | None = None,
    ) -> Float[Tensor, "batch context cy cx"]:
        """Return the penultimate map of normalised bands.

        Args:
            bands: Normalised bands.
            is_absent: Bands whose features are replaced by their learned vectors; a network without
                such vectors takes what the bands hold.
        """
        features = self.features(bands)
        if self.masks is not None and is_absent is not None:
            vectors = self.masks.reshape(1, -1, 1, 1).to(features.dtype)
            hidden = is_absent.repeat_interleave(self.features.width, 1)[:, :, None, None]
            features = torch.where(hidden, vectors, features)
        context: Tensor = self.backbone(features)
        return context


def _masks(spec: NetworkSpec) -> nn.Parameter:
    return nn.Parameter(torch.zeros(len(spec.bands), spec.features.width))


class PixelHead(nn.Module):
    """A 1x1 convolution on the penultimate map, brought to the input's size bilinearly.

    Args:
        width: Planes of the penultimate map.
        outputs: Planes per pixel.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(width, outputs, 1)

    def forward(
        self, context: Float[Tensor, "batch context cy cx"], size: tuple[int, int]
    ) -> Float[Tensor, "batch output y x"]:
        """Return the outputs on `size` pixels (y, x)."""
        return F.interpolate(self.layer(context), size=size, mode="bilinear", align_corners=False)


class Segmenter(nn.Module):
    """The network that maps: an encoder and a head with one output per class.

    Args:
        spec: The network.
        classes: Number of classes.
    """

    def __init__(self, spec: NetworkSpec, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(spec)
        self.head = PixelHead(spec.backbone.context_width, classes)

    def forward(
        self,
        bands: Float[Tensor, "batch band y x"],
        is_absent: Bool[Tensor, "batch band"] | None = None,
    ) -> Float[Tensor, "batch class y x"]:
        """Return the logits of normalised bands; see `Encoder.forward`."""
        size = (bands.shape[2], bands.shape[3])
        logits: Tensor = self.head(self.encoder(bands, is_absent), size)
        return logits


class Ensemble(nn.Module):
    """Networks on the same bands, which say the mean of their probabilities.

    Args:
        spec: The network of each.
        classes: Number of classes.
        members: Number of networks.
    """

    def __init__(self, spec: NetworkSpec, classes: int, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(Segmenter(spec, classes) for _ in range(members))

    @property
    def encoder(self) -> Encoder:
        """The first network's encoder, whose bands are those of all."""
        encoder: Encoder = self.members[0].encoder  # type: ignore[assignment]
        return encoder

    def forward(
        self,
        bands: Float[Tensor, "batch band y x"],
        is_absent: Bool[Tensor, "batch band"] | None = None,
    ) -> Float[Tensor, "batch class y x"]:
        """Return logarithms of the mean probabilities, which softmax makes these again."""
        total = torch.zeros((), device=bands.device)
        for member in self.members:
            total = total + torch.softmax(member(bands, is_absent).float(), 1)
        return (total / len(self.members)).clamp(min=torch.finfo(total.dtype).tiny).log()


Model = Segmenter | Ensemble


def model_of(spec: NetworkSpec, classes: int, members: int) -> Model:
    """Return what maps: one network, or an ensemble of several, with weights yet to be loaded."""
    return Segmenter(spec, classes) if members == 1 else Ensemble(spec, classes, members)
