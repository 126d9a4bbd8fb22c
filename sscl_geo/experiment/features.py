"""What classical classifiers and pictures see of a chip: its bands, or a frozen encoder's maps."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import nn
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.spec import HeadSpec
from sscl_geo.io.bundle import read_card, read_weights
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.context import with_context

CPU = torch.device("cpu")

Arrays = dict[str, Shaped[np.ndarray, "_ _ _"]]
"""Stored numbers of a chip, by array."""


def loaded(path: Path, device: torch.device = CPU) -> Encoder:
    """Return the encoder of a bundle, ready to encode.

    Raises:
        InvalidInputError: There is none at the path.
    """
    card = read_card(path)
    encoder = Encoder(NetworkSpec.model_validate(card.network))
    load_weights(encoder, read_weights(path, card), str(path))
    return encoder.to(device).eval()


def image_of(arrays: Arrays, encoder: Encoder) -> Float32[np.ndarray, "band y x"]:
    """Return a chip as an encoder sees it: z-scores, 0 where nothing was observed."""
    values: np.ndarray = encoder.normalise(tensors(arrays, encoder)).values[0].cpu().numpy()
    return values


def bands_of(
    arrays: Arrays, nodata: Mapping[str, int], context: tuple[int, ...]
) -> Float32[np.ndarray, "feature y x"]:
    """Return the stored numbers of a chip, and of the squares around every pixel.

    Args:
        arrays: The chip.
        nodata: Stored value of no observation of each array, which no square counts.
        context: Sides of the squares in pixels.
    """
    planes = np.concatenate([array.astype(np.float32) for array in arrays.values()])
    valid = np.concatenate([array != nodata[name] for name, array in arrays.items()])
    return with_context(planes, context, valid)


@torch.inference_mode()
def encoded(
    arrays: Arrays, encoder: Encoder, spec: HeadSpec | None
) -> Float32[np.ndarray, "feature y x"]:
    """Return an encoder's penultimate map of a chip on the chip's pixels, bilinearly.

    Args:
        arrays: The chip.
        encoder: The encoder.
        spec: Whether the bands and their surroundings follow; None lets them not.
    """
    bands = encoder.normalise(tensors(arrays, encoder))
    context = encoder(bands.values, bands.is_absent)
    size = (bands.values.shape[2], bands.values.shape[3])
    raised = F.interpolate(context, size=size, mode="bilinear", align_corners=False)
    features: np.ndarray = raised[0].cpu().numpy()
    if spec is not None and spec.with_bands:
        nodata = {name: bands[0].nodata for name, bands in encoder.spec.arrays.items()}
        features = np.concatenate([features, bands_of(arrays, nodata, spec.context)])
    return features


def hidden_bands(names: Iterable[str], hidden: Collection[str]) -> set[str]:
    """Return those of a network's bands that are to be hidden.

    Args:
        names: Names of its bands.
        hidden: Sensors, or bands such as `sentinel2_l2a:B02`, of which every period is meant.

    Raises:
        InvalidInputError: The network has no such band or sensor.
    """
    matched = {name: {name.split("@")[0], name.split(":")[0]} & {*hidden} for name in names}
    unknown = {*hidden} - {one for found in matched.values() for one in found}
    if unknown:
        raise InvalidInputError(
            f"judged_without {', '.join(sorted(unknown))}: the network sees {', '.join(matched)}"
        )
    return {name for name, found in matched.items() if found}


def without(arrays: Arrays, spec: NetworkSpec, hidden: Collection[str]) -> Arrays:
    """Return a chip on which some of a network's bands (`hidden_bands`) were not observed."""
    absent = hidden_bands([band.name for band in spec.bands], hidden)
    seen = {name: array.copy() for name, array in arrays.items()}
    for name, bands in spec.arrays.items():
        seen[name][[band.name in absent for band in bands]] = bands[0].nodata
    return seen


def tensors(arrays: Arrays, network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a chip as a batch of one, where a network computes."""
    device = next(network.parameters()).device
    return {name: torch.from_numpy(array)[None].to(device) for name, array in arrays.items()}
