"""Training state and weights as bytes that no pickle can hide in."""

import io

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from sscl_geo.errors import InvalidInputError

State = dict[str, object]
"""All that a resumed run needs; plain data and tensors."""


def to_bytes(state: State) -> bytes:
    """Return a state as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes) -> State:
    """Return the state of bytes made by `to_bytes`, on the CPU; nothing in them is executed."""
    state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def weights_below(state: State, prefix: str) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return the weights of a part of a state's model by their names within it.

    Args:
        state: A state with a `model`.
        prefix: Name of the part, with a dot at its end.
    """
    model: dict[str, torch.Tensor] = state["model"]  # type: ignore[assignment]
    return {
        name.removeprefix(prefix): value.numpy()
        for name, value in model.items()
        if name.startswith(prefix)
    }


def load_weights(
    module: nn.Module, arrays: dict[str, Shaped[np.ndarray, "..."]], source: str
) -> None:
    """Put arrays into a module.

    Raises:
        InvalidInputError: Names or shapes are not the module's; the message names `source`.
    """
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise InvalidInputError(
            f"{source}: its weights do not fit its architecture: {detail}"
        ) from None
