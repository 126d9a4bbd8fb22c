"""What tests of learning share."""

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def with_torchvision() -> Iterator[Callable[[str], ModuleType]]:
    """Import a module that imports torchvision, whose CUDA wheel registers no operators here."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            signature = f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    # The library must live as long as its operators are needed.
    yield importlib.import_module
    del library
