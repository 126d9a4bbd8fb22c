"""Ranks as workers of Ray Train."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from ray import train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import nn

from sscl_geo.errors import InvalidInputError, TrainingError
from sscl_geo.runtime.gang import BOARD, Board, Metrics, Rank, Ranks
from sscl_geo.runtime.ray_cluster import joined, resources

CHECKPOINT = "checkpoint.pt"
RUN = "run"
KEPT_CHECKPOINTS = 2
COLLECTIVE_SECONDS = 300
"""How long a rank waits for the others before it counts as hung."""

_POLL_SECONDS = "0.5"
"""How often the controller looks; a checkpoint that it has not seen is lost with its worker. More
often costs a fifth of a core."""


class RayRank:
    """One Ray Train worker.

    Args:
        board: Folder of TensorBoard's files.
    """

    def __init__(self, board: Path) -> None:
        self._board = Board(board)
        context = train.get_context()
        self.rank: int = context.get_world_rank()
        self.world: int = context.get_world_size()
        self.device: torch.device = get_device()

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module in DDP."""
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        if self.device.type == "cuda":
            # Batches are split over ranks, and so would be their statistics; torch has none of
            # this on CPUs.
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        wrapped: nn.Module = prepare_model(module)
        return wrapped

    def restore(self) -> bytes | None:
        """Return the last checkpoint, or None at the first start."""
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return (Path(folder) / CHECKPOINT).read_bytes()

    def report(self, metrics: Metrics, checkpoint: bytes) -> None:
        """Keep a checkpoint; the first rank's counts."""
        if self.rank:
            train.report(dict(metrics))
            return
        self._board.add(metrics)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CHECKPOINT).write_bytes(checkpoint)
            train.report(dict(metrics), checkpoint=Checkpoint.from_directory(folder))


def run(job: Callable[[Rank], None], folder: Path, spec: Ranks) -> bytes:
    """Run a job on Ray Train workers and return its last checkpoint.

    Workers that die are replaced and go on from the last checkpoint; so does a second run with the
    same folder, which all nodes must see.

    Raises:
        TrainingError: The job failed more often than it may.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with session(spec):
        trainer = TorchTrainer(
            _Loop(job, folder.resolve().with_name(BOARD)),
            torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
            scaling_config=ScalingConfig(num_workers=spec.ranks, use_gpu=spec.gpus),
            run_config=RunConfig(
                name=RUN,
                storage_path=str(folder.resolve()),
                failure_config=FailureConfig(max_failures=spec.max_failures),
                checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            ),
        )
        try:
            result = trainer.fit()
        except train.TrainingFailedError as error:
            message = (
                f"training failed: {_cause(error)}; the same command resumes from its last epoch"
            )
            raise TrainingError(message) from error
    if result.checkpoint is None:
        raise TrainingError("training ended without a checkpoint; run the same command again")
    return (Path(result.checkpoint.path) / CHECKPOINT).read_bytes()


class _Loop:
    """What each worker runs."""

    def __init__(self, job: Callable[[Rank], None], board: Path) -> None:
        self._job = job
        self._board = board

    def __call__(self) -> None:
        self._job(RayRank(self._board))


@contextmanager
def session(spec: Ranks) -> Iterator[None]:
    """Hold a cluster for several jobs; a job outside of a session starts or joins its own."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _POLL_SECONDS)
    with joined(spec.address, spec.ranks):
        _check_gpus(spec)
        yield


def _check_gpus(spec: Ranks) -> None:
    found = int(resources().get("GPU", 0))
    if spec.gpus and found < spec.ranks:
        raise InvalidInputError(
            f"--gpu with {spec.ranks} ranks: the Ray cluster has {found} GPUs; give fewer "
            "--ranks, or leave --gpu out"
        )


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
