"""DeepLabv3+ with one more step: the decoder ends at the features' own resolution.

Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image
segmentation", whose decoder joins the pyramid with the first stage; here a second join takes the
full-resolution features of the single-channel extractor, which the network of Montanaro et al. 2022
strides over.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.learn.resnet import Ascent, Pyramid, ResNet
from sscl_geo.learn.spec import BackboneSpec


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y, x)`."""
    return DeepLabV3Plus(planes, spec)


class DeepLabV3Plus(nn.Module):
    """A dilated ResNet, atrous spatial pyramid pooling, and two joins on the way up."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        width = spec.context_width
        self.resnet = ResNet(planes, spec)
        self.pyramid = Pyramid(self.resnet.widths[-1], spec)
        self.ascent = Ascent(width, (self.resnet.widths[0], planes), width)

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context y x"]:
        """Return the penultimate map, at the size of the input."""
        stages = self.resnet(features).stages
        context: Tensor = self.ascent(self.pyramid(stages[-1]), (stages[0], features))
        return context
