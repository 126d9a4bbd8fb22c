"""U-Net on a ResNet: every map on the way down is joined again on the way up.

Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation". The last
join takes the full-resolution features of the single-channel extractor. `rates` are not used.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.learn.resnet import Ascent, ResNet
from sscl_geo.learn.spec import BackboneSpec


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y, x)`."""
    return UNet(planes, spec)


class UNet(nn.Module):
    """A ResNet down and joins up."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.resnet = ResNet(planes, spec)
        finer = (*self.resnet.widths[-2::-1], spec.width, planes)
        self.ascent = Ascent(self.resnet.widths[-1], finer, spec.context_width)

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context y x"]:
        """Return the penultimate map, at the size of the input."""
        maps = self.resnet(features)
        finer = (*maps.stages[-2::-1], maps.stem, features)
        context: Tensor = self.ascent(maps.stages[-1], finer)
        return context
