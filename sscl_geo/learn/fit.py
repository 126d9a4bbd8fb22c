"""The training loop: phases of epochs of steps, resumable between epochs at any world size."""

import math
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from sscl_geo.errors import InvalidInputError, TrainingError
from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import ALIGNMENT, Batch, parts_of
from sscl_geo.learn.checkpoint import State, from_bytes, to_bytes
from sscl_geo.learn.gather import total_over_ranks
from sscl_geo.learn.stopping import Best, Validation
from sscl_geo.learn.tuning import computes_bfloat16

Metrics = dict[str, float | int | str]
SMALLEST_SHARE = 2
"""Batch norm needs two samples."""

AHEAD = 2
"""Batches that are drawn ahead of the one in use."""


class Schedule(Frozen):
    """How long and how fast a phase learns.

    Attributes:
        epochs: Number of epochs; there is a checkpoint after each.
        steps: Optimiser steps per epoch.
        batch: Samples per step over all ranks.
        patch: Side of a patch in pixels of the network.
        learning_rate: Peak rate of AdamW.
        head_learning_rate: Peak rate of new heads; `learning_rate` if None.
        weight_decay: Decoupled weight decay of AdamW.
        precision: Type in which convolutions compute; losses and weights stay in float32. `auto` is
            bfloat16 where the device computes in it and float32 elsewhere, where bfloat16 would be
            emulated, and slower than either.
        warmup: Share of all steps over which the rate rises from 0; it then falls as a half cosine.
        accumulate: Parts in which a batch is computed, for less memory; the loss is the mean of
            theirs, so contrast sees only the samples of its part.
    """

    epochs: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    patch: int = Field(ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    accumulate: int = Field(default=1, ge=1)

    @property
    def total(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * self.steps

    def check(self, ranks: int) -> None:
        """Let only numbers of ranks train that share a batch evenly, two samples or more each.

        Raises:
            InvalidInputError: The batch does not divide so, or the patch is odd.
        """
        share, rest = divmod(self.batch, max(ranks, 1) * self.accumulate)
        if rest or share < SMALLEST_SHARE or self.patch % ALIGNMENT:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise InvalidInputError(
                f"batch {self.batch} of patches of {self.patch} px on {ranks} ranks{parts}: the "
                "batch must be a multiple of the ranks (and parts) with two samples or more each, "
                "and the patch even"
            )

    def rate(self, step: int) -> float:
        """Return the share of the peak rate at a step."""
        rising = max(int(self.warmup * self.total), 1)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(self.total - rising, 1)))


@runtime_checkable
class Gang(Protocol):
    """The ranks that train together, as one of them sees it."""

    @property
    def rank(self) -> int:
        """This rank's number."""

    @property
    def world(self) -> int:
        """Number of ranks."""

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module with gradients averaged over ranks."""

    def restore(self) -> bytes | None:
        """Return the last checkpoint, or None at the first start."""

    def report(self, metrics: Metrics, checkpoint: bytes) -> None:
        """Keep a checkpoint; every rank calls it after every epoch."""


class Phase(NamedTuple):
    """One stretch of training.

    Attributes:
        name: Its name in the history.
        task: Module whose call on `(batch, generator)` gives the loss.
        schedule: How long and how fast.
        draw: Returns this rank's batch of a step.
        heads: Prefixes of the parameters that learn with the head's rate.
        is_shared: Whether all ranks draw alike in the task, as a loss over all of them needs.
        after_step: Called after each optimiser step.
        finish: Called once on the weights that are kept, before the last checkpoint; every rank
            must find the same.
        validation: What chooses the epoch whose weights are kept; the last one's without.
    """

    name: str
    task: nn.Module
    schedule: Schedule
    draw: Callable[[int], Batch]
    heads: tuple[str, ...] = ()
    is_shared: bool = False
    after_step: Callable[[], None] | None = None
    finish: Callable[[], None] | None = None
    validation: Validation | None = None


def fit(model: nn.Module, phases: Iterable[Phase], gang: Gang, seed: int) -> list[Metrics]:
    """Train the phases in order and return the history, one entry an epoch.

    Args:
        model: Module that holds the parameters of every phase; it is what checkpoints keep.
        phases: What to train; their tasks share the model's parameters.
        gang: The ranks.
        seed: Seed of everything drawn on the device's side.
    """
    checkpoint = gang.restore()
    state: State = from_bytes(checkpoint) if checkpoint else {}
    done = _progress(state)
    history: list[Metrics] = list(done.history)
    if "model" in state:
        model.load_state_dict(state["model"])  # type: ignore[arg-type]
    for index, phase in enumerate(phases):
        if index < done.phase:
            continue
        first = done.epoch if index == done.phase else 0
        saved = state if index == done.phase and first else None
        _fit_phase(_Run(model, phase, index, gang, seed, history), first, saved)
    return history


class _Progress(NamedTuple):
    phase: int
    epoch: int
    history: list[Metrics]


def _progress(state: State) -> _Progress:
    if not state:
        return _Progress(0, 0, [])
    return _Progress(int(state["phase"]), int(state["epoch"]), list(state["history"]))  # type: ignore[call-overload]


class _Run(NamedTuple):
    model: nn.Module
    phase: Phase
    number: int
    gang: Gang
    seed: int
    history: list[Metrics]


def _fit_phase(run: _Run, first: int, saved: State | None) -> None:
    schedule, best = run.phase.schedule, Best(math.inf, 0, {})
    run.model.to(run.gang.device)
    task = run.phase.task.to(run.gang.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = run.gang.wrap(task)
    optimizer = AdamW(_groups(run.phase), weight_decay=schedule.weight_decay, fused=True)
    # A plain function, which the scheduler leaves out of its state.
    rates = LambdaLR(optimizer, lambda step: schedule.rate(step))  # noqa: PLW0108
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"]["optimizer"])  # type: ignore[index]
        rates.load_state_dict(saved["optimizer"]["rates"])  # type: ignore[index]
        if run.phase.validation is not None:
            best = Best(**saved["best"])  # type: ignore[arg-type]
    for epoch in range(first, schedule.epochs):
        started = time.perf_counter()
        task.train()
        torch.manual_seed(_seed(run.seed, run.number, epoch, run.gang.rank))
        loss, waited = _epoch(run, task, optimizer, rates, epoch)
        _check_finite(run, "loss", epoch, loss)
        seconds = time.perf_counter() - started
        metrics: Metrics = {
            "phase": run.phase.name,
            "epoch": epoch + 1,
            "loss": loss,
            "patches_per_second": schedule.steps * schedule.batch / seconds,
            "data_wait": waited / seconds,
            "memory_mb": _memory_mb(run.gang.device),
        }
        is_last = epoch + 1 == schedule.epochs
        if run.phase.validation is not None:
            metrics["validation_loss"] = found = run.phase.validation.loss()
            _check_finite(run, "validation loss", epoch, found)
            best = best.after(found, epoch + 1, run.model)
            is_last |= best.is_stale(epoch + 1, run.phase.validation.patience)
            if is_last:
                run.model.load_state_dict(best.weights)
        run.history.append(metrics)
        if is_last and run.phase.finish is not None:
            run.phase.finish()
        run.gang.report(
            metrics,
            to_bytes(
                {
                    "model": run.model.state_dict(),
                    "optimizer": {"optimizer": optimizer.state_dict(), "rates": rates.state_dict()},
                    **({"best": best._asdict()} if best.weights and not is_last else {}),
                    "phase": run.number + is_last,
                    "epoch": 0 if is_last else epoch + 1,
                    "history": list(run.history),
                }
            ),
        )
        if is_last:
            return


def _check_finite(run: _Run, what: str, epoch: int, loss: float) -> None:
    if not math.isfinite(loss):
        message = (
            f"{run.phase.name}: the {what} of epoch {epoch + 1} is {loss}; lower learning_rate"
        )
        raise TrainingError(message)


def _epoch(
    run: _Run, task: nn.Module, optimizer: AdamW, rates: LambdaLR, epoch: int
) -> tuple[float, float]:
    """Return an epoch's mean loss over all ranks, and how many seconds it waited for batches."""
    schedule = run.phase.schedule
    total, waited = torch.zeros((), device=run.gang.device), 0.0
    rank = 0 if run.phase.is_shared else run.gang.rank
    is_half = schedule.precision == "bfloat16" or (
        schedule.precision == "auto" and computes_bfloat16(run.gang.device)
    )
    steps = range(epoch * schedule.steps, (epoch + 1) * schedule.steps)
    # The next batches are drawn while this one is learned from.
    with ThreadPoolExecutor(1) as drawing:
        coming = deque(drawing.submit(run.phase.draw, step) for step in steps[:AHEAD])
        for step in steps:
            asked = time.perf_counter()
            batch = coming.popleft().result()
            waited += time.perf_counter() - asked
            if step + AHEAD in steps:
                coming.append(drawing.submit(run.phase.draw, step + AHEAD))
            generator = _generator(run.seed, run.number, step, rank)
            optimizer.zero_grad(set_to_none=True)
            for part in parts_of(batch, schedule.accumulate):
                with torch.autocast(run.gang.device.type, torch.bfloat16, enabled=is_half):
                    loss: Tensor = task(part, generator) / schedule.accumulate
                torch.autograd.backward(loss)
                total += loss.detach()
            optimizer.step()
            rates.step()
            if run.phase.after_step is not None:
                run.phase.after_step()
    return float(total_over_ranks(total)) / (schedule.steps * run.gang.world), waited


def _memory_mb(device: torch.device) -> float:
    """Return the most memory that was held: of the GPU, or of this process and its starter."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _generator(*key: int) -> torch.Generator:
    """Return a generator that is the same in every resumed run."""
    return torch.Generator().manual_seed(_seed(*key))


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def _groups(phase: Phase) -> list[dict[str, object]]:
    named = [(n, p) for n, p in phase.task.named_parameters() if p.requires_grad]
    heads = [p for name, p in named if name.startswith(phase.heads) and phase.heads]
    body = [p for name, p in named if not (name.startswith(phase.heads) and phase.heads)]
    rate = phase.schedule.learning_rate
    groups: list[dict[str, object]] = [{"params": body, "lr": rate}]
    if heads:
        groups.append({"params": heads, "lr": phase.schedule.head_learning_rate or rate})
    return groups
