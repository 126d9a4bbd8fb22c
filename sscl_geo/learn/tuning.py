"""How a network computes on a machine, which is no part of what it is."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sscl_geo.errors import InvalidInputError, brief
from sscl_geo.learn.network import Encoder

INDUCTOR = "inductor"


def tune(encoder: Encoder, *, recomputes: bool, compiles: bool, backend: str = INDUCTOR) -> None:
    """Make an encoder compute with less memory, or faster; its state dictionary stays the same.

    Args:
        encoder: The encoder; what is copied of it afterwards is not compiled.
        recomputes: Whether maps of the feature extractor are computed again for the gradient
            instead of held.
        compiles: Whether feature extractor and backbone are compiled when first used, and again
            for other shapes. Rounding differs, and what dropout draws.
        backend: Name of the compiler.
    """
    encoder.features.is_recomputed = recomputes
    parts: tuple[nn.Module, ...] = (encoder.features.layers, encoder.backbone)
    for part in parts if compiles else ():
        part.compile(backend=backend)


def prepare_inference(network: nn.Module, device: str) -> None:
    """Convert a trained network for faster inference; it can no longer be trained.

    Each batch norm is taken into the convolution before it, which changes results by rounding
    alone, and maps are laid out pixel by pixel, as convolutions like them.

    Args:
        network: The network, with its weights.
        device: Where it is to be asked.
    """
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for part in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for number, (layer, following) in enumerate(pairwise(part)):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                part[number] = fuse_conv_bn_eval(layer, following)
                part[number + 1] = nn.Identity()


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies in bfloat16, not by way of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001


def check_compiler(*, has_gpu: bool) -> None:
    """Compile the smallest function there is, which takes seconds.

    Raises:
        InvalidInputError: This machine cannot.
    """
    device = "cuda" if has_gpu and torch.cuda.is_available() else "cpu"
    # Without the cache, which would hide that the compiler has gone.
    compiled = torch.compile(torch.neg, backend=INDUCTOR, options={"fx_graph_cache": False})
    try:
        compiled(torch.ones(2, device=device))
    except RuntimeError as error:
        cause = brief(error)
        raise InvalidInputError(
            f"--compile: torch cannot compile on this machine ({cause}); install a C++ compiler "
            "and Python's headers, or leave --compile out"
        ) from None
