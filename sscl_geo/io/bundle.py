"""Model bundles: weights as safetensors, everything else as JSON, nothing pickled."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped
from pydantic import Field, JsonValue
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sscl_geo import __version__
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, parse, read_json
from sscl_geo.geo.legend import Legend
from sscl_geo.io.disk import delete_pending, write_whole

WEIGHTS = "model.safetensors"
CARD = "model.json"


class Bundle(Frozen):
    """What a bundle says of itself.

    Attributes:
        kind: `encoder` after pretraining, `model` when it can map.
        network: Specification of the network, inputs and normalisation included.
        members: Networks of an ensemble, whose weights the file holds below `members.<number>`.
        legend: Classes of the outputs, in order; None for an encoder.
        temperature: What logits are divided by before they become probabilities.
        window: Side of an inference window in 10 m pixels.
        halo: Pixels of a window, on each side, that blend with its neighbours.
        weights_sha256: Digest of the weights' file.
        package_version: Version of this package that wrote it.
        training: What it was trained with and on.
        history: One entry an epoch.
    """

    kind: Literal["encoder", "model"]
    network: dict[str, JsonValue]
    members: int = Field(default=1, ge=1)
    legend: Legend | None = None
    temperature: float = Field(default=1.0, gt=0)
    window: int = 256
    halo: int = 32
    weights_sha256: str = ""
    package_version: str = __version__
    training: dict[str, JsonValue] = Field(default_factory=dict)
    history: list[dict[str, JsonValue]] = Field(default_factory=list)


Arrays = dict[str, Shaped[np.ndarray, "..."]]


def write_bundle(folder: Path, bundle: Bundle, weights: Arrays) -> Bundle:
    """Write a bundle; until the last file is whole, the folder holds none. Return it as written.

    What a killed writer left is deleted, so that nobody else may be writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CARD):
        delete_pending(folder / name)
    content = save({name: np.asarray(array, order="C") for name, array in weights.items()})
    written = bundle.replace(weights_sha256=hashlib.sha256(content).hexdigest())
    write_whole(folder / WEIGHTS, content)
    write_whole(folder / CARD, written.model_dump_json(indent=1).encode())
    return written


def read_card(folder: Path) -> Bundle:
    """Return what a bundle says of itself.

    Raises:
        InvalidInputError: There is no bundle, or its card is damaged.
    """
    try:
        fields = read_json((folder / CARD).read_text())
    except (OSError, ValueError):
        raise InvalidInputError(
            f"{folder} holds no model bundle ({CARD} is absent or damaged); train one with "
            "`sscl-geo pretrain` or `sscl-geo finetune`"
        ) from None
    return parse(Bundle, fields, str(folder / CARD))


def read_weights(folder: Path, bundle: Bundle) -> Arrays:
    """Return a bundle's weights.

    Raises:
        InvalidInputError: The file is absent, or is not the one that the card describes.
    """
    try:
        content = (folder / WEIGHTS).read_bytes()
        arrays: Arrays = load(content)
    except (OSError, SafetensorError):
        raise InvalidInputError(
            f"{folder / WEIGHTS} is absent or damaged; train the model again"
        ) from None
    if hashlib.sha256(content).hexdigest() != bundle.weights_sha256:
        raise InvalidInputError(
            f"{folder / WEIGHTS} is not the file that {CARD} describes; restore the pair"
        )
    return arrays
