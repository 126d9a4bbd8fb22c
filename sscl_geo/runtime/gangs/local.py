"""One rank, in this process."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import nn

from sscl_geo.errors import InvalidInputError
from sscl_geo.runtime.gang import BOARD, CHECKPOINT, Board, Metrics, Ranks, keep_whole


class LocalRank:
    """The only rank there is.

    Args:
        folder: Folder of the run, which holds its last checkpoint.
        spec: Whether to compute on a GPU.

    Raises:
        InvalidInputError: A GPU is asked for and there is none.
    """

    rank = 0
    world = 1

    def __init__(self, folder: Path, spec: Ranks) -> None:
        if spec.gpus and not torch.cuda.is_available():
            raise InvalidInputError("--gpu: torch finds no GPU on this machine; leave --gpu out")
        self._path = folder / CHECKPOINT
        self._board = Board(folder.with_name(BOARD))
        self.device = torch.device("cuda" if spec.gpus else "cpu")

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module as it is."""
        return module

    def restore(self) -> bytes | None:
        """Return the last checkpoint, or None at the first start."""
        return self._path.read_bytes() if self._path.exists() else None

    def report(self, metrics: Metrics, checkpoint: Callable[[], bytes]) -> None:
        """Keep a checkpoint in place of the last one."""
        keep_whole(self._path, checkpoint())
        self._board.add(metrics)

    def close(self) -> None:
        """End what writes for TensorBoard."""
        self._board.close()


@contextmanager
def session(spec: Ranks) -> Iterator[None]:  # noqa: ARG001 - every gang takes it
    """Hold nothing: this process is there anyway."""
    yield


def run(job: Callable[[LocalRank], None], folder: Path, spec: Ranks) -> bytes:
    """Run a job in this process and return its last checkpoint; a second run resumes."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(LocalRank(folder, spec)) as rank:
        job(rank)
    return (folder / CHECKPOINT).read_bytes()
