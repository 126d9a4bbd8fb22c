"""DeepLabv3 on a ResNet, in plain torch.

Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation", on the ResNets of
He et al. 2016. With depth 50, width 64, output stride 8 and rates 12, 24, 36 it is the graph of
torchvision's `deeplabv3_resnet50` up to the penultimate map.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.learn.spec import BackboneSpec

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
STEM_STRIDE = 2
DROPOUT = 0.5


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y/s, x/s)`."""
    return DeepLabV3(planes, spec)


class DeepLabV3(nn.Module):
    """A dilated ResNet, atrous spatial pyramid pooling, and a 3x3 convolution."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(planes, spec.width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(spec.width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1)
            if spec.output_stride > STEM_STRIDE
            else nn.Identity(),
        )
        self.stages = nn.Sequential(*_stages(spec))
        expansion = 1 if spec.depth == 18 else 4  # noqa: PLR2004 - basic blocks do not expand
        self.pyramid = _Pyramid(8 * spec.width * expansion, spec)
        self.last = _convolution(spec.context_width, spec.context_width, 3)

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context cy cx"]:
        """Return the penultimate map."""
        context: Tensor = self.last(self.pyramid(self.stages(self.stem(features))))
        return context


def _stages(spec: BackboneSpec) -> Iterator[nn.Module]:
    block = _Basic if spec.depth == 18 else _Bottleneck  # noqa: PLR2004
    planes, stride, dilation = spec.width, min(2 * STEM_STRIDE, spec.output_stride), 1
    for index, count in enumerate(BLOCKS[spec.depth]):
        width = spec.width * 2**index
        step = 1 if index == 0 else 2
        first = dilation
        if step == 2 and stride >= spec.output_stride:  # noqa: PLR2004
            step, dilation = 1, dilation * 2
        stride *= step
        layers: list[nn.Module] = [block(planes, width, step, first)]
        planes = width * block.expansion
        layers += [block(planes, width, 1, dilation) for _ in range(1, count)]
        yield nn.Sequential(*layers)


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, planes: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(planes, width, 3, stride, dilation),
            _convolution(width, width, 3, 1, dilation)[:-1],
        )
        self.skip = _skip(planes, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, planes: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(planes, width, 1),
            _convolution(width, width, 3, stride, dilation),
            _convolution(width, width * 4, 1)[:-1],
        )
        self.skip = _skip(planes, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def _skip(planes: int, width: int, stride: int) -> nn.Module:
    if stride == 1 and planes == width:
        return nn.Identity()
    return _convolution(planes, width, 1, stride)[:-1]


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image mean, side by side."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        width = spec.context_width
        atrous = [_convolution(planes, width, 3, 1, rate) for rate in spec.rates]
        self.branches = nn.ModuleList([_convolution(planes, width, 1), *atrous])
        self.image = _convolution(planes, width, 1)
        joined = width * (len(self.branches) + 1)
        self.project = nn.Sequential(_convolution(joined, width, 1), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        projected: Tensor = self.project(torch.cat([*(b(x) for b in self.branches), image], 1))
        return projected


def _convolution(
    planes: int, width: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(planes, width, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
