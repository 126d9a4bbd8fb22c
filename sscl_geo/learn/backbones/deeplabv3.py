"""DeepLabv3 on a ResNet, in plain torch.

Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation". With depth 50,
width 64, output stride 8 and rates 12, 24, 36 it is the graph of torchvision's
`deeplabv3_resnet50` up to the penultimate map.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.learn.resnet import Pyramid, ResNet, convolution
from sscl_geo.learn.spec import BackboneSpec


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y/s, x/s)`."""
    return DeepLabV3(planes, spec)


class DeepLabV3(nn.Module):
    """A dilated ResNet, atrous spatial pyramid pooling, and a 3x3 convolution."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.resnet = ResNet(planes, spec)
        self.pyramid = Pyramid(self.resnet.widths[-1], spec)
        self.last = convolution(spec.context_width, spec.context_width, 3)

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context cy cx"]:
        """Return the penultimate map."""
        context: Tensor = self.last(self.pyramid(self.resnet(features).stages[-1]))
        return context
