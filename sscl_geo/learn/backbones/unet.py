"""U-Net on a ResNet: every map on the way down is joined again on the way up.

Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation". The last
join takes the full-resolution features of the single-channel extractor. `rates` are not used.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.learn.resnet import Merge, ResNet
from sscl_geo.learn.spec import BackboneSpec


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y, x)`."""
    return UNet(planes, spec)


class UNet(nn.Module):
    """A ResNet down and joins up."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.resnet = ResNet(planes, spec)
        fine = (*self.resnet.widths[-2::-1], spec.width, planes)
        coarse = (self.resnet.widths[-1], *[spec.context_width] * (len(fine) - 1))
        self.joins = nn.ModuleList(
            [
                Merge(below, skip, spec.context_width)
                for below, skip in zip(coarse, fine, strict=True)
            ]
        )

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context y x"]:
        """Return the penultimate map, at the size of the input."""
        maps = self.resnet(features)
        context: Tensor = maps.stages[-1]
        for join, fine in zip(self.joins, (*maps.stages[-2::-1], maps.stem, features), strict=True):
            context = join(context, fine)
        return context
