"""Dilated 3x3 convolutions at the input's own resolution, and no wider a view than they reach.

Yu and Koltun 2016, "Multi-scale context aggregation by dilated convolutions" (arXiv 1511.07122). A
pixel is judged by the square of `1 + 2 * sum(rates)` pixels around it; rates that grow faster than
1, 2, 4 leave gaps in the square. `depth` and `output_stride` are not used.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.learn.resnet import convolution
from sscl_geo.learn.spec import BackboneSpec


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y, x)`."""
    return Dilated(planes, spec)


class Dilated(nn.Module):
    """A 1x1 convolution, a 3x3 one for each rate, and a 1x1 one."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(planes, spec.width, 1),
            *(convolution(spec.width, spec.width, 3, dilation=rate) for rate in spec.rates),
            convolution(spec.width, spec.context_width, 1),
        )

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context y x"]:
        """Return the penultimate map, at the size of the input."""
        context: Tensor = self.layers(features)
        return context
