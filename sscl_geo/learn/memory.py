"""How much memory a model needs to look at a window."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sscl_geo.learn.network import model_of
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.tuning import prepare_inference

PROBE = 64
"""Side of the window that is run: what the strides of all networks divide."""

LOADING = 4
"""How often weights are held while they are loaded: the file, its arrays, tensors, the network."""


class _Watch(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, and the most of them at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, which takes seconds and is not used."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            # It lays out its input anew, if it likes another order of planes.
            self.most = max(self.most, self.now + args[0].nbytes + out.nbytes)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._take(tensor.untyped_storage())
        return out

    def _take(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001 - its identity
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def model_bytes(spec: NetworkSpec, classes: int, members: int, side: int) -> int:
    """Return the most bytes that a model holds when it is loaded, or maps one window.

    A small window is run and its bytes are scaled by area. (The meta device would need no run, but
    torch imports its whole compiler for it, which takes seconds.)

    Args:
        spec: The network.
        classes: Number of classes.
        members: Number of networks, which are asked one after the other.
        side: Side of the window in pixels of the network.
    """
    probe = min(side, PROBE)
    probed = min(members, 2)
    with torch.random.fork_rng(devices=[]):
        network = model_of(spec, classes, probed)
    weights: int = sum(tensor.nbytes for tensor in network.state_dict().values())
    weights = weights * members // probed
    prepare_inference(network, "cpu")
    with torch.no_grad(), _Watch() as watch:
        seen = network.encoder.normalise(
            {
                name: torch.zeros(1, len(bands), *[probe * spec.gsd // bands[0].gsd] * 2)
                for name, bands in spec.arrays.items()
            }
        )
        torch.softmax(network(seen.values, seen.is_absent).float(), 1)
    window = int(watch.most * (side / probe) ** 2)
    return max(weights + window, LOADING * weights)
