"""Ranks as workers of Ray Train."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import nn

from sscl_geo.errors import InvalidInputError, TrainingError
from sscl_geo.redaction import keep_secrets_out_of_logs
from sscl_geo.runtime.gang import BOARD, CHECKPOINT, Board, Metrics, Ranks, keep_whole
from sscl_geo.runtime.ray_cluster import joined, resources

RUN = "run"
FAILURE = "failure"
"""How files begin in which ranks tell why they ended, beside the checkpoint."""

LASTING = (InvalidInputError, TrainingError)
"""What fails again, however often it is tried."""

COLLECTIVE_SECONDS = 300
"""How long a rank waits for the others before it counts as hung."""

_POLL_SECONDS = "0.5"
"""How often the controller looks, for which every report waits. More often costs a fifth of a
core."""


class RayRank:
    """One Ray Train worker.

    Args:
        folder: Folder of the run, which holds its last checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKPOINT
        self._board = Board(folder.with_name(BOARD))
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
        """Return the checkpoint that the first rank finds, or None at the first start."""
        is_there = self.rank == 0 and self._path.exists()
        found = [self._path.read_bytes() if is_there else None]
        dist.broadcast_object_list(found, device=self.device)
        return found[0]

    def report(self, metrics: Metrics, checkpoint: Callable[[], bytes]) -> None:
        """Keep the first rank's checkpoint in place of the last one."""
        if self.rank == 0:
            keep_whole(self._path, checkpoint())
            self._board.add(metrics)
        train.report(dict(metrics))

    def close(self) -> None:
        """End what writes for TensorBoard."""
        self._board.close()


def run(job: Callable[[RayRank], None], folder: Path, spec: Ranks) -> bytes:
    """Run a job on Ray Train workers and return its last checkpoint.

    Workers that die are replaced, once the cluster has room for all ranks, and go on from the last
    checkpoint. So does a second run, on however many ranks, with the same folder, which all nodes
    must see.

    Raises:
        InvalidInputError: The job refused what it was given.
        TrainingError: The job failed more often than it may, or for a reason that lasts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{FAILURE}*"):
        path.unlink()
    with session(spec):
        trainer = TorchTrainer(
            _Loop(job, folder.resolve()),
            torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
            scaling_config=ScalingConfig(num_workers=spec.ranks, use_gpu=spec.gpus),
            run_config=RunConfig(
                name=RUN,
                storage_path=str(folder.resolve()),
                failure_config=FailureConfig(max_failures=spec.max_failures),
            ),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            _raise_lasting(folder)
            message = (
                f"training failed: {_cause(error)}; the same command resumes from its last epoch"
            )
            raise TrainingError(message) from error
    _raise_lasting(folder)
    return (folder / CHECKPOINT).read_bytes()


class _Loop:
    """What each worker runs.

    What fails for a reason that lasts is told in a file and not tried again: workers that Ray
    starts anew find the file, and end.
    """

    def __init__(self, job: Callable[[RayRank], None], folder: Path) -> None:
        self._job = job
        self._folder = folder

    def __call__(self) -> None:
        keep_secrets_out_of_logs()
        if any(self._folder.glob(f"{FAILURE}*.json")):
            return
        with closing(RayRank(self._folder)) as rank:
            try:
                self._job(rank)
            except LASTING as error:
                told = {"kind": type(error).__name__, "message": str(error)}
                path = self._folder / f"{FAILURE}-{rank.rank}.json"
                keep_whole(path, json.dumps(told).encode())
                raise


def _raise_lasting(folder: Path) -> None:
    """Raise what a worker said before it ended, if its reason lasts."""
    kinds = {kind.__name__: kind for kind in LASTING}
    for path in sorted(folder.glob(f"{FAILURE}*.json")):
        told = json.loads(path.read_bytes())
        raise kinds[told["kind"]](told["message"])


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
