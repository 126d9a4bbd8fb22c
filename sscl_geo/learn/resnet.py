"""A dilated ResNet and the parts from which segmentation networks are built, in plain torch.

He et al. 2016, "Deep residual learning for image recognition"; dilations as in Chen et al. 2017,
"Rethinking atrous convolution for semantic image segmentation".
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.learn.spec import BackboneSpec

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STEM_STRIDE = 2
DROPOUT = 0.5


def maps_per_pixel(spec: BackboneSpec) -> float:
    """Return about how many planes of convolutions a backbone has for each pixel of its input."""
    if spec.name == "dilated":
        return len(spec.rates) * spec.width + spec.context_width
    per_block = 2 if spec.depth == 18 else 6  # noqa: PLR2004 - of a bottleneck 1, 1 and 4
    strides = [min(2 * STEM_STRIDE * 2**index, max(spec.output_stride, 2)) for index in range(4)]
    stages = zip(BLOCKS[spec.depth], strides, strict=True)
    found: float = spec.width / STEM_STRIDE**2
    for index, (count, stride) in enumerate(stages):
        found += count * per_block * spec.width * 2**index / stride**2
    return found


class Maps(NamedTuple):
    """What a ResNet sees on its way down.

    Attributes:
        stem: After the first convolution, at stride 2.
        stages: After each stage.
    """

    stem: Tensor
    stages: tuple[Tensor, ...]


class ResNet(nn.Module):
    """A ResNet of depth 18, 50 or 101 whose stages beyond the output stride are dilated instead.

    Args:
        planes: Planes of the input.
        spec: Depth, width and output stride.
    """

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(planes, spec.width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(spec.width),
            nn.ReLU(inplace=True),
        )
        is_pooled = spec.output_stride > STEM_STRIDE
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if is_pooled else nn.Identity()
        self.stages = nn.Sequential(*_stages(spec))
        expansion = 1 if spec.depth == 18 else 4  # noqa: PLR2004 - basic blocks do not expand
        self.widths = tuple(spec.width * 2**index * expansion for index in range(4))

    def forward(self, features: Float[Tensor, "batch plane y x"]) -> Maps:
        """Return the maps of the stem and of every stage."""
        stem = self.stem(features)
        found, x = [], self.pool(stem)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return Maps(stem, tuple(found))


class Merge(nn.Module):
    """Brings a coarse map to a finer one's size and joins them with a 3x3 convolution.

    Args:
        coarse: Planes of the coarse map.
        fine: Planes of the finer one, of which a 1x1 convolution keeps at most a quarter of
            `width`.
        width: Planes of the result.
    """

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        kept = min(fine, max(width // 4, 8))
        self.lateral = convolution(fine, kept, 1)
        self.join = convolution(coarse + kept, width, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the joined map at the finer one's size."""
        size = (fine.shape[2], fine.shape[3])
        raised = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        joined: Tensor = self.join(torch.cat([raised, self.lateral(fine)], 1))
        return joined


class Ascent(nn.Module):
    """Joins a coarse map with finer ones, one after the other, up to the finest.

    Args:
        coarsest: Planes of the coarsest map.
        finer: Planes of the finer ones, the coarser first.
        width: Planes of every joined map.
    """

    def __init__(self, coarsest: int, finer: Sequence[int], width: int) -> None:
        super().__init__()
        coarse = (coarsest, *[width] * (len(finer) - 1))
        self.joins = nn.ModuleList(
            [Merge(below, fine, width) for below, fine in zip(coarse, finer, strict=True)]
        )

    def forward(self, coarsest: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Return the joined map at the size of the finest."""
        for join, fine in zip(self.joins, finer, strict=True):
            coarsest = join(coarsest, fine)
        return coarsest


def _stages(spec: BackboneSpec) -> Iterator[nn.Module]:
    block = BasicBlock if spec.depth == 18 else Bottleneck  # noqa: PLR2004
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


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip.

    Args:
        planes: Planes of the input.
        width: Planes of the result.
        stride: Stride of the first convolution.
        dilation: Dilation of both.
    """

    expansion = 1

    def __init__(self, planes: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(planes, width, 3, stride, dilation),
            convolution(width, width, 3, 1, dilation)[:-1],
        )
        self.skip = _skip(planes, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways."""
        return F.relu(self.body(x) + self.skip(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, beside a skip.

    Args:
        planes: Planes of the input.
        width: A quarter of the planes of the result.
        stride: Stride of the 3x3 convolution.
        dilation: Its dilation.
    """

    expansion = 4

    def __init__(self, planes: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(planes, width, 1),
            convolution(width, width, 3, stride, dilation),
            convolution(width, width * 4, 1)[:-1],
        )
        self.skip = _skip(planes, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways."""
        return F.relu(self.body(x) + self.skip(x))


def _skip(planes: int, width: int, stride: int) -> nn.Module:
    if stride == 1 and planes == width:
        return nn.Identity()
    return convolution(planes, width, 1, stride)[:-1]


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image mean, side by side.

    Args:
        planes: Planes of the input.
        spec: Rates and width.
    """

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        width = spec.context_width
        atrous = [convolution(planes, width, 3, 1, rate) for rate in spec.rates]
        self.branches = nn.ModuleList([convolution(planes, width, 1), *atrous])
        self.image = convolution(planes, width, 1)
        joined = width * (len(self.branches) + 1)
        self.project = nn.Sequential(convolution(joined, width, 1), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        """Return the context of every pixel."""
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        projected: Tensor = self.project(torch.cat([*(b(x) for b in self.branches), image], 1))
        return projected


def convolution(
    planes: int, width: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return a convolution that keeps the size over its stride, batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(planes, width, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
