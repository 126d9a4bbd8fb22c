"""The whole network: normalise, features of every band, backbone, and heads on its last map."""

from jaxtyping import Float
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
        planes = len(spec.bands) * spec.features.width
        self.backbone: nn.Module = plugins.find(BACKBONES, spec.backbone.name).build(
            planes, spec.backbone
        )

    def forward(
        self, bands: Float[Tensor, "batch band y x"]
    ) -> Float[Tensor, "batch context cy cx"]:
        """Return the penultimate map of normalised bands."""
        context: Tensor = self.backbone(self.features(bands))
        return context


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

    def forward(self, bands: Float[Tensor, "batch band y x"]) -> Float[Tensor, "batch class y x"]:
        """Return the logits of normalised bands."""
        logits: Tensor = self.head(self.encoder(bands), (bands.shape[2], bands.shape[3]))
        return logits
