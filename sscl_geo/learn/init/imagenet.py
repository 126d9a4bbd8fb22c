"""A ResNet's weights of ImageNet, in torchvision's names, under our backbones.

The stem sees features or bands instead of red, green and blue: a band that is one of these gets its
kernel, every other plane the mean of the three, all scaled by three over the number of planes.
Everything else (feature extractor, pyramid, decoder) stays random. The file decides which training
the weights come from; torchvision's IMAGENET1K_V1 and V2 differ.
"""

import hashlib
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, hub
from torch.nn import BatchNorm2d, Conv2d, Module, Sequential

from sscl_geo.errors import InvalidInputError, brief
from sscl_geo.frozen import Frozen
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.resnet import ResNet
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.sensors import band_of

COLOURS = ("red", "green", "blue")
STEM = 7
"""Side in pixels of the stem's kernels."""


class Settings(Frozen):
    """Where the weights are.

    Attributes:
        weights: A state dictionary of torchvision's `resnet18`, `resnet50` or `resnet101`, as torch
            saves it (`.pth`): a path, or the name of a file in torch's own cache, such as
            `resnet50-0676ba61.pth`.
        sha256: Digest of that file; filled in where it is None.
    """

    weights: Path
    sha256: str | None = None


def settle(settings: Settings) -> Settings:
    """Return settings with the absolute path and the digest of the file.

    Raises:
        InvalidInputError: There is no such file, or it is another one.
    """
    path, cache = settings.weights.expanduser().resolve(), Path(hub.get_dir()) / "checkpoints"
    if not path.is_file() and (cache / settings.weights).is_file():
        path = (cache / settings.weights).resolve()
    if not path.is_file():
        raise InvalidInputError(
            f"init imagenet: {path}: no such file, nor is it in {cache}; give torchvision's weights"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if settings.sha256 not in (None, found):
        raise InvalidInputError(
            f"init imagenet: {path} has the sha256 {found}, not {settings.sha256}; give the file "
            "that was meant"
        )
    return Settings(weights=path, sha256=found)


def name(settings: Settings) -> Settings:
    """Return settings that say which file it is, and not where."""
    return settings.replace(weights=settings.weights.name)


def prepare(encoder: Encoder, settings: Settings) -> None:
    """Put the weights into an encoder's ResNet.

    Raises:
        InvalidInputError: The backbone has no ResNet, or the file does not fit it.
    """
    resnet = next((m for m in encoder.backbone.modules() if isinstance(m, ResNet)), None)
    if resnet is None:
        raise InvalidInputError(
            f"init imagenet: backbone {encoder.spec.backbone.name!r} has no ResNet; choose another"
        )
    theirs = _loaded(settle(settings).weights)
    mine = _names(resnet)
    adapted = {
        name: _stem(theirs[name], encoder.spec) if name == "conv1.weight" else theirs[name]
        for name in mine
        if name in theirs
    }
    misfits = [n for n, own in mine.items() if n not in adapted or own.shape != adapted[n].shape]
    if misfits:
        raise InvalidInputError(
            f"init imagenet: {settings.weights} does not fit depth {encoder.spec.backbone.depth} "
            f"and width {encoder.spec.backbone.width}: {misfits[0]}"
        )
    with torch.no_grad():
        for name, own in mine.items():
            own.copy_(adapted[name])


def _loaded(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, UnpicklingError) as error:
        raise InvalidInputError(
            f"init imagenet: {path} is no state dictionary: {brief(error)}"
        ) from None
    stem = state.get("conv1.weight") if isinstance(state, dict) else None
    if not isinstance(stem, Tensor) or stem.shape[1:] != (len(COLOURS), STEM, STEM):
        raise InvalidInputError(
            f"init imagenet: {path} has no stem of three colours, `conv1.weight`; take a "
            "ResNet's weights as torchvision saves them"
        )
    return state


def _stem(theirs: Tensor, spec: NetworkSpec) -> Tensor:
    colours = [_colour(band.name) if spec.features.layers == 0 else None for band in spec.bands]
    planes = [colour for colour in colours for _ in range(spec.features.width)]
    mean = theirs.mean(1)
    kernels = [mean if one is None else theirs[:, COLOURS.index(one)] for one in planes]
    return torch.stack(kernels, 1) * (theirs.shape[1] / len(planes))


def _colour(name: str) -> str | None:
    """Return which of the colours of a picture a band is."""
    own = band_of(name).common_name
    return own if own in COLOURS else None


def _names(resnet: ResNet) -> dict[str, Tensor]:
    """Return our tensors by torchvision's names."""
    named = _layer(resnet.stem, "conv1", "bn1")
    for number, stage in enumerate(resnet.stages, 1):
        for index, block in enumerate(stage.children()):
            prefix = f"layer{number}.{index}"
            for depth, layer in enumerate(block.get_submodule("body").children(), 1):
                named |= _layer(layer, f"{prefix}.conv{depth}", f"{prefix}.bn{depth}")
            skip = block.get_submodule("skip")
            if isinstance(skip, Sequential):
                named |= _layer(skip, f"{prefix}.downsample.0", f"{prefix}.downsample.1")
    return named


def _layer(layer: Module, convolution: str, norm: str) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for part in layer.children():
        if isinstance(part, Conv2d):
            named[f"{convolution}.weight"] = part.weight
        if isinstance(part, BatchNorm2d):
            # A count of batches, which files of before 2018 lack, plays no part at our momentum.
            held = part.state_dict()
            del held["num_batches_tracked"]
            named |= {f"{norm}.{name}": value for name, value in held.items()}
    return named
