"""The training loop: phases of epochs of steps, resumable between epochs at any world size."""

import math
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sscl_geo.errors import TrainingError
from sscl_geo.learn.batches import Batch, parts_of
from sscl_geo.learn.checkpoint import State, from_bytes, to_bytes
from sscl_geo.learn.gather import total_over_ranks
from sscl_geo.learn.monitor import Measures
from sscl_geo.learn.schedule import Schedule
from sscl_geo.learn.stopping import Best, Validation
from sscl_geo.learn.tuning import computes_bfloat16

Metrics = dict[str, float | int | str]
MOMENTUM = 0.9
AHEAD = 2
"""Batches that are drawn ahead of the one in use."""


@runtime_checkable
class Rank(Protocol):
    """One of the ranks that train together."""

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

    def report(self, metrics: Metrics, checkpoint: Callable[[], bytes]) -> None:
        """Keep a checkpoint, which one rank makes; every rank calls it after every epoch."""


class Phase(NamedTuple):
    """One stretch of training.

    Attributes:
        name: Its name in the history.
        task: Module whose call on `(batch, generator)` gives the loss; the generator
            of a step is alike on all ranks.
        schedule: How long and how fast.
        draw: Returns this rank's batch of a step.
        heads: Prefixes of the parameters that learn with the head's rate.
        steady: Prefixes of the parameters whose rate, once warmed up, does not decay.
        measured: Returns what the task measured in its last step besides the loss.
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
    steady: tuple[str, ...] = ()
    measured: Callable[[], Measures] = Measures
    after_step: Callable[[], None] | None = None
    finish: Callable[[], None] | None = None
    validation: Validation | None = None


def fit(model: nn.Module, phases: Iterable[Phase], rank: Rank, seed: int) -> list[Metrics]:
    """Train the phases in order and return the history, one entry an epoch.

    Args:
        model: Module that holds the parameters of every phase; it is what checkpoints keep.
        phases: What to train; their tasks share the model's parameters.
        rank: This process's rank.
        seed: Seed of everything drawn on the device's side.

    Raises:
        TrainingError: A loss is not finite, or a GPU's memory does not hold a batch.
    """
    checkpoint = rank.restore()
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
        with _memory_told(phase):
            _fit_phase(_Run(model, phase, index, rank, seed, history), first, saved)
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
    rank: Rank
    seed: int
    history: list[Metrics]


class _Learner(NamedTuple):
    """The task that gives a phase's loss, and what moves its weights; is_half is bfloat16."""

    task: nn.Module
    optimizer: Optimizer
    rates: LambdaLR
    is_half: bool

    def state(self) -> State:
        return {"optimizer": self.optimizer.state_dict(), "rates": self.rates.state_dict()}

    def load(self, state: State) -> None:
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.rates.load_state_dict(state["rates"])  # type: ignore[arg-type]


def _learner(run: _Run) -> _Learner:
    schedule, device = run.phase.schedule, run.rank.device
    run.model.to(device)
    task = run.phase.task.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(run.phase)

    # Plain functions, which the scheduler leaves out of its state.
    def decaying(step: int) -> float:
        return schedule.rate(step)

    def steady(step: int) -> float:
        return schedule.rate(step, decays=False)

    courses: list[Callable[[int], float]] = [
        steady if group["is_steady"] else decaying for group in optimizer.param_groups
    ]
    rates = LambdaLR(optimizer, courses)
    is_half = schedule.precision == "bfloat16" or (
        schedule.precision == "auto" and computes_bfloat16(device)
    )
    return _Learner(run.rank.wrap(task), optimizer, rates, is_half)


def _fit_phase(run: _Run, first: int, saved: State | None) -> None:
    phase, best = run.phase, Best(math.inf, 0, {})
    learner = _learner(run)
    if saved is not None:
        learner.load(saved["optimizer"])  # type: ignore[arg-type]
        if phase.validation is not None:
            best = Best(**saved["best"])  # type: ignore[arg-type]
    for epoch in range(first, phase.schedule.epochs):
        metrics = _epoch(run, learner, epoch)
        is_last = epoch + 1 == phase.schedule.epochs
        if phase.validation is not None:
            metrics["validation_loss"] = found = phase.validation.loss()
            _check_finite(run, "validation loss", epoch, found)
            best = best.after(found, epoch + 1, run.model)
            is_last |= best.is_stale(epoch + 1, phase.validation.patience)
            if is_last:
                run.model.load_state_dict(best.weights)
        run.history.append(metrics)
        if is_last and phase.finish is not None:
            phase.finish()
        following = None if is_last else epoch + 1
        run.rank.report(metrics, partial(_checkpoint, run, learner, best, following))
        if is_last:
            return


def _checkpoint(run: _Run, learner: _Learner, best: Best, following: int | None) -> bytes:
    """Return where training stands; `following` is the phase's next epoch, None after its last."""
    is_last = following is None
    return to_bytes(
        {
            "model": run.model.state_dict(),
            "optimizer": learner.state(),
            **({"best": best._asdict()} if best.weights and not is_last else {}),
            "phase": run.number + is_last,
            "epoch": following or 0,
            "history": list(run.history),
        }
    )


def _check_finite(run: _Run, what: str, epoch: int, loss: float) -> None:
    if not math.isfinite(loss):
        message = (
            f"{run.phase.name}: the {what} of epoch {epoch + 1} is {loss}; lower learning_rate"
        )
        raise TrainingError(message)


@contextmanager
def _memory_told(phase: Phase) -> Iterator[None]:
    """Tell in one line that a GPU's memory is too small, and what to do."""
    try:
        yield
    except torch.OutOfMemoryError:
        side, batch = phase.schedule.patch, phase.schedule.batch
        raise TrainingError(
            f"{phase.name}: the GPU's memory does not hold a batch of {batch} patches of {side} "
            "px; take --recompute, or in the study more parts (accumulate) or a smaller batch, and "
            "another --out"
        ) from None


def _epoch(run: _Run, learner: _Learner, epoch: int) -> Metrics:
    """Learn for an epoch and return what its line of the history tells."""
    schedule, started = run.phase.schedule, time.perf_counter()
    learner.task.train()
    torch.manual_seed(_seed(run.seed, run.number, epoch, run.rank.rank))
    loss, waited, measures = _steps(run, learner, epoch)
    _check_finite(run, "loss", epoch, loss)
    seconds = time.perf_counter() - started
    return {
        "phase": run.phase.name,
        "epoch": epoch + 1,
        "loss": loss,
        "patches_per_second": schedule.steps * schedule.batch / seconds,
        "data_wait": waited / seconds,
        "memory_mb": _memory_mb(run.rank.device),
        **measures.means(),
    }


def _steps(run: _Run, learner: _Learner, epoch: int) -> tuple[float, float, Measures]:
    """Return an epoch's mean loss over all ranks, the seconds it waited, and what was measured."""
    phase, schedule = run.phase, run.phase.schedule
    total, waited, measures = torch.zeros((), device=run.rank.device), 0.0, Measures()
    steps = range(epoch * schedule.steps, (epoch + 1) * schedule.steps)
    # The next batches are drawn while this one is learned from.
    with ThreadPoolExecutor(1) as drawing:
        coming = deque(drawing.submit(phase.draw, step) for step in steps[:AHEAD])
        for step in steps:
            asked = time.perf_counter()
            batch = coming.popleft().result()
            waited += time.perf_counter() - asked
            if step + AHEAD in steps:
                coming.append(drawing.submit(phase.draw, step + AHEAD))
            total += _step(run, learner, batch, _generator(run.seed, run.number, step))
            measures = measures.plus(phase.measured())
            if phase.after_step is not None:
                phase.after_step()
    loss = float(total_over_ranks(total)) / (schedule.steps * run.rank.world)
    return loss, waited, measures


def _step(run: _Run, learner: _Learner, batch: Batch, generator: torch.Generator) -> Tensor:
    """Move the weights once and return the loss that moved them."""
    parts, device = run.phase.schedule.accumulate, run.rank.device
    total = torch.zeros((), device=device)
    learner.optimizer.zero_grad(set_to_none=True)
    for part in parts_of(batch, parts):
        with torch.autocast(device.type, torch.bfloat16, enabled=learner.is_half):
            loss: Tensor = learner.task(part, generator) / parts
        torch.autograd.backward(loss)
        total += loss.detach()
    learner.optimizer.step()
    learner.rates.step()
    return total


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


def _optimizer(phase: Phase) -> Optimizer:
    decay = phase.schedule.weight_decay
    if phase.schedule.optimizer == "sgd":
        return SGD(_groups(phase), momentum=MOMENTUM, weight_decay=decay)
    return AdamW(_groups(phase), weight_decay=decay, fused=True)


def _groups(phase: Phase) -> list[dict[str, object]]:
    schedule = phase.schedule
    names = [name for name, _ in phase.task.named_parameters()]
    for prefix in phase.steady:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"{phase.name}: no parameter of the task is named {prefix}…")
    rates = {False: schedule.learning_rate, True: schedule.head_learning_rate}
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {(False, False): []}
    for name, parameter in phase.task.named_parameters():
        if parameter.requires_grad:
            kind = name.startswith(phase.heads), name.startswith(phase.steady)
            parts.setdefault(kind, []).append(parameter)
    return [
        {"params": kept, "lr": rates[of_head] or schedule.learning_rate, "is_steady": is_steady}
        for (of_head, is_steady), kept in sorted(parts.items(), key=lambda part: part[0])
    ]
