"""The single-channel feature extractor: one small network, shared by all bands of all sensors.

Montanaro et al. 2022, section II: a few convolutions without stride, so that every pixel has its
features; the weights see one band at a time.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sscl_geo.learn.spec import FeatureSpec


class FeatureExtractor(nn.Module):
    """3x3 convolutions with batch norm; ReLU after all but the last, so that features are signed.

    Equivariant to the order of bands: band c fills the planes c * width to (c + 1) * width - 1.

    Args:
        spec: Number of layers and features.

    Attributes:
        is_recomputed: Whether its maps, the largest of the network, are not held for the gradient
            but computed again, which is exact.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.is_recomputed = False
        self.width = spec.width
        layers: list[nn.Module] = []
        for index in range(spec.layers):
            planes = 1 if index == 0 else spec.width
            layers.append(
                nn.Conv2d(planes, spec.width, 3, padding=1, padding_mode="reflect", bias=False)
            )
            layers.append(nn.BatchNorm2d(spec.width))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, bands: Float[Tensor, "batch band y x"]) -> Float[Tensor, "batch plane y x"]:
        """Return the features of every band."""
        batch, count, height, width = bands.shape
        single = bands.reshape(batch * count, 1, height, width)
        features: Tensor = (
            checkpoint(self.layers, single, use_reentrant=False, context_fn=self._passes)
            if self.is_recomputed
            else self.layers(single)
        )
        return features.reshape(batch, count * self.width, height, width)

    def _passes(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _unchanged(self.layers)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Put buffers back, so that a second pass over a batch counts nothing twice."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
