"""Intermediate fusion: an encoder for each sensor, joined on the way up.

The network of PixIF (Chen and Bruzzone 2022, "Self-supervised SAR-optical data fusion of
Sentinel-1/-2 images"): per branch a ResNet-18 without its last stage and of half its width, then a
U-Net decoder over the maps of all branches side by side. With `layers: 0` of features, one sensor's
bands in each of `branches` and `width: 32` it has the encoders of their six-band net. Its decoder
is that of our other networks: maps are raised bilinearly, theirs by repetition, and joined through
1x1 convolutions, and the last one sees the bands themselves; edges are padded with zeros, theirs by
repetition. `depth`, `rates` and `output_stride` are not used.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sscl_geo.errors import InvalidInputError
from sscl_geo.learn.resnet import Ascent, BasicBlock, convolution
from sscl_geo.learn.spec import BackboneSpec

STAGES = 3


def build(planes: int, spec: BackboneSpec) -> nn.Module:
    """Return the backbone: `(batch, planes, y, x)` to `(batch, context_width, y, x)`.

    Raises:
        InvalidInputError: The branches do not take all planes.
    """
    return MFusion(planes, spec)


class MFusion(nn.Module):
    """Branches down and joins up."""

    def __init__(self, planes: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.splits = list(spec.branches or (planes,))
        if sum(self.splits) != planes:
            raise InvalidInputError(
                f"backbone mfusion: branches {self.splits} must sum to the {planes} planes of its "
                "input"
            )
        self.branches = nn.ModuleList([_Branch(split, spec.width) for split in self.splits])
        widths = [len(self.splits) * spec.width * factor for factor in (4, 2, 1, 1)]
        self.ascent = Ascent(widths[0], [*widths[1:], planes], spec.context_width)

    def forward(
        self, features: Float[Tensor, "batch plane y x"]
    ) -> Float[Tensor, "batch context y x"]:
        """Return the penultimate map, at the size of the input."""
        parts = torch.split(features, self.splits, 1)
        maps = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        joined = [torch.cat(level, 1) for level in zip(*maps, strict=True)]
        context: Tensor = self.ascent(joined[-1], (*joined[-2::-1], features))
        return context


class _Branch(nn.Module):
    def __init__(self, planes: int, width: int) -> None:
        super().__init__()
        self.stem = convolution(planes, width, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList(
            [_stage(width * max(2**n // 2, 1), width * 2**n, 1 + (n > 0)) for n in range(STAGES)]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the stem and of every stage."""
        found = [self.stem(x)]
        x = self.pool(found[0])
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return tuple(found)


def _stage(planes: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(BasicBlock(planes, width, stride), BasicBlock(width, width))
