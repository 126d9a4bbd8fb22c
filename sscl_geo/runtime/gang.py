"""Training jobs: what a gang of ranks needs to know, and what all gangs leave on the disk."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, model_validator
from tensorboardX import SummaryWriter

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.frozen import Frozen

_log = logging.getLogger(__name__)

GANGS = "sscl_geo.runtime.gangs"
"""Where the gang plugins are."""

RUN = "run"
"""Name of the folder in a bundle that holds a run until it ends."""

CACHE = "cache"
"""Name of the folder in a bundle that holds decoded imagery until a run ends."""

BOARD = "tensorboard"
"""Name of the folder beside a run that TensorBoard reads."""

LINES = "epochs.log"
"""Name of the file beside what TensorBoard reads that has a line an epoch."""

CHECKPOINT = "checkpoint.pt"
"""Name of the last checkpoint in a run's folder, whatever gang made it."""

Metrics = Mapping[str, float | int | str]


class Ranks(Frozen):
    """Where a training job runs. On CPUs, batch norm sees each rank's own part of a batch.

    Attributes:
        ranks: Number of Ray Train workers; 0 trains in this process, without Ray.
        address: Address of a Ray cluster; None starts one here, or joins the one that runs this
            process as a Ray job.
        gpus: Whether each rank has a GPU.
        max_failures: How often dead workers are replaced before the job gives up.
        recomputes: Whether maps of the feature extractor are computed again for the gradient, for
            less memory; the results are the same.
        compiles: Whether torch compiles the network; the results differ by rounding, and by what
            dropout draws.
    """

    ranks: int = Field(default=0, ge=0)
    address: str | None = None
    gpus: bool = False
    max_failures: int = Field(default=3, ge=0)
    recomputes: bool = False
    compiles: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Ranks":
        if self.address is not None and not self.ranks:
            raise InvalidInputError(
                f"--ray {self.address}: without --ranks, training stays in this process; say how "
                "many train there"
            )
        return self

    @property
    def gang(self) -> str:
        """Name of the gang plugin."""
        return "ray_train" if self.ranks else "local"


def told(metrics: Metrics) -> str:
    """Return metrics as one line, without those of bands and monitors, whose names have a `/`."""
    shown = [(name, value) for name, value in metrics.items() if "/" not in name]
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown)


class Board:
    """What TensorBoard shows, one scalar a metric, phase and epoch; and a line an epoch.

    A tag has no colon, so a band `s2:B04` stands under `s2/B04`.

    Args:
        folder: Folder of its event files and of the lines.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def add(self, metrics: Metrics) -> None:
        """Write the metrics of an epoch."""
        self._writer = self._writer or SummaryWriter(logdir=str(self._folder))
        for name, value in metrics.items():
            if isinstance(value, float):
                tag = f"{metrics['phase']}/{name}".replace(":", "/")
                self._writer.add_scalar(tag, value, int(metrics["epoch"]))
        self._writer.flush()
        with (self._folder / LINES).open("a", encoding="utf-8") as file:
            file.write(told(metrics) + "\n")

    def close(self) -> None:
        """End the writer's threads."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def running(out: Path) -> Iterator[None]:
    """Hold the folder of a bundle, so that no other process trains in it; a killed one lets go.

    Disks without locks hold nothing.

    Raises:
        PlanConflictError: Another process trains there.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PlanConflictError(
            f"{out}: the same command trains there already; wait for it, or take another --out"
        ) from None
    except OSError as error:
        _log.debug("%s cannot be locked: %s", out, error)
    try:
        yield
    finally:
        os.close(descriptor)


def clear_run(out: Path) -> None:
    """Delete what only an unfinished training needs in the folder of a bundle."""
    for name in (RUN, CACHE):
        shutil.rmtree(out / name, ignore_errors=True)


def keep_whole(path: Path, content: bytes) -> None:
    """Write a file so that a killed writer, or a loss of power, leaves the old one."""
    pending = path.with_suffix(".partial")
    with pending.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    pending.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
