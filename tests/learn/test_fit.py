"""The training loop: a run that was killed ends as one that was not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sscl_geo.errors import InvalidInputError, TrainingError
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.checkpoint import State, from_bytes
from sscl_geo.learn.fit import Metrics, Phase, fit
from sscl_geo.learn.schedule import Schedule
from sscl_geo.learn.stopping import Validation

SHORT = Schedule(epochs=2, steps=3, batch=4, patch=2)


class Killed(Exception):  # noqa: N818
    """The process died."""


class Rank:
    """A rank that keeps checkpoints in memory and dies after so many."""

    device = torch.device("cpu")

    def __init__(self, dies_after: int = 10**6, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world
        self.left = dies_after
        self.kept: bytes | None = None

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def restore(self) -> bytes | None:
        return self.kept

    def report(self, metrics: Metrics, checkpoint: Callable[[], bytes]) -> None:
        assert metrics["epoch"]
        self.kept = checkpoint()
        self.left -= 1
        if self.left == 0:
            raise Killed


class Line(nn.Module):
    """Learns a line under dropout, so that hidden random state would show."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        noise = torch.randn(4, 3, generator=generator)
        x = batch.stored["x"] + 0.1 * noise
        error: Tensor = self.layer(x) - x.sum(1, keepdim=True)
        return error.square().mean()


def draw(step: int) -> Batch:
    return Batch({"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(step))}, None)


def trained(rank: Rank) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": Line(), "two": Line()})
    schedule = Schedule(epochs=3, steps=4, batch=4, patch=2, learning_rate=0.01)
    phases = [
        Phase("one", model["one"], schedule, draw),
        Phase("two", model["two"], schedule, draw, heads=("layer.2",)),
    ]
    fit(model, phases, rank, seed=1)


def test_a_run_killed_after_any_epoch_ends_as_one_left_alone() -> None:
    alone = Rank()
    trained(alone)
    assert alone.kept is not None
    expected = from_bytes(alone.kept)
    for epochs in range(1, 7):
        rank = Rank(dies_after=epochs)
        try:
            trained(rank)
        except Killed:
            trained(rank)
        assert rank.kept is not None
        found = from_bytes(rank.kept)
        for name, value in expected["model"].items():  # type: ignore[attr-defined]
            assert torch.equal(found["model"][name], value), (epochs, name)  # type: ignore[index]
        losses = [entry["loss"] for entry in found["history"]]  # type: ignore[attr-defined]
        assert losses == [entry["loss"] for entry in expected["history"]]  # type: ignore[attr-defined]


def test_the_loss_falls() -> None:
    rank = Rank()
    trained(rank)
    assert rank.kept is not None
    history = from_bytes(rank.kept)["history"]
    assert history[2]["loss"] < history[0]["loss"]  # type: ignore[index]


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    schedule = Schedule(epochs=10, steps=10, batch=2, patch=2, warmup=0.2)
    rates = [schedule.rate(step) for step in range(100)]
    assert max(rates) == rates[19] == 1.0
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)
    assert rates[-1] < 0.01
    kept = [schedule.rate(step, decays=False) for step in range(100)]
    assert kept == [*rates[:20], *[1.0] * 80]


@pytest.mark.parametrize(
    ("numbers", "ranks"),
    [
        ({"batch": 2, "accumulate": 2}, 0),
        ({"batch": 2}, 2),
        ({"batch": 8, "accumulate": 2}, 3),
        ({"batch": 6}, 4),
        ({"batch": 4, "patch": 3}, 1),
    ],
)
def test_a_batch_must_give_every_rank_and_part_two_samples(
    numbers: dict[str, int], ranks: int
) -> None:
    schedule = Schedule.model_validate({"epochs": 1, "steps": 1, "patch": 2, **numbers})
    with pytest.raises(InvalidInputError, match="two samples or more each"):
        schedule.check(ranks)
    schedule.replace(batch=24, patch=4).check(ranks)


def test_a_batch_of_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="batch"):
        Schedule(epochs=1, steps=1, batch=1, patch=2)


def test_a_batch_in_parts_moves_the_weights_as_the_whole_does() -> None:
    moved = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        line = nn.Linear(3, 1)

        class Task(nn.Module):
            def __init__(self, layer: nn.Linear) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
                assert generator is not None
                error: Tensor = self.layer(batch.stored["x"]) - 1
                return error.square().mean()

        schedule = Schedule(epochs=1, steps=3, batch=4, patch=2, accumulate=accumulate)
        fit(nn.ModuleDict({"a": line}), [Phase("a", Task(line), schedule, draw)], Rank(), seed=1)
        moved.append(line.weight.detach().clone())
    assert torch.allclose(moved[0], moved[1], atol=1e-6)


class Seeds(nn.Module):
    """Notes the seed of every step's draws, and what dropout draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.seen: list[tuple[int, tuple[bool, ...]]] = []

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        assert batch.stored
        kept = nn.functional.dropout(self.weight)
        self.seen.append((generator.initial_seed(), (*(kept > 0).tolist(),)))
        return kept.sum()


def test_every_step_has_a_generator_of_its_own_that_all_ranks_share() -> None:
    seen = []
    for number in (0, 1):
        torch.manual_seed(number)
        task = Seeds()
        phase = Phase("a", task, SHORT, draw)
        fit(nn.ModuleDict({"a": task}), [phase], Rank(rank=number, world=2), seed=3)
        seen.append(task.seen)
    seeds, others = ([seed for seed, _ in one] for one in seen)
    assert len({*seeds}) == SHORT.total
    assert seeds == others
    # Dropout is of a rank's own samples.
    assert [kept for _, kept in seen[0]] != [kept for _, kept in seen[1]]


@pytest.mark.parametrize("steady", [(), ("weight",)])
def test_sgd_moves_weights_by_rate_times_momentum_and_decay(steady: tuple[str, ...]) -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

        def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
            assert batch.stored
            assert generator is not None
            return 3 * self.weight

    task = Slope()
    schedule = SHORT.replace(optimizer="sgd", learning_rate=0.1, weight_decay=0.5)
    phase = Phase("a", task, schedule, draw, steady=steady)
    fit(nn.ModuleDict({"a": task}), [phase], Rank(), seed=3)
    weight, speed = 2.0, 0.0
    for step in range(schedule.total):
        speed = 0.9 * speed + 3 + 0.5 * weight
        weight -= 0.1 * schedule.rate(step, decays=not steady) * speed
    assert float(task.weight.detach()) == pytest.approx(weight, rel=1e-9)


def test_a_steady_part_that_the_task_has_not_is_refused() -> None:
    line = Line()
    phase = Phase("a", line, SHORT, draw, steady=("predictor.",))
    with pytest.raises(ValueError, match=r"a: no parameter of the task is named predictor\."):
        fit(nn.ModuleDict({"a": line}), [phase], Rank(), seed=3)


def test_memory_that_is_too_small_is_told_with_what_to_do() -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
            assert batch.stored
            assert generator is not None
            raise torch.OutOfMemoryError("CUDA out of memory.")

    task = Hungry()
    with pytest.raises(TrainingError, match=r"batch of 4 patches of 2 px; take --recompute"):
        fit(nn.ModuleDict({"a": task}), [Phase("core", task, SHORT, draw)], Rank(), seed=3)


def test_half_precision_is_that_of_convolutions_alone() -> None:
    told: dict[str, torch.dtype] = {}

    class Task(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
            assert generator is not None
            found: Tensor = self.layer(batch.stored["x"])
            told[precision] = found.dtype
            return (found.float() - 1).square().mean()

    for precision in ("float32", "bfloat16"):
        task, rank = Task(), Rank()
        schedule = SHORT.replace(precision=precision)
        fit(nn.ModuleDict({"a": task}), [Phase("a", task, schedule, draw)], rank, seed=3)
        assert task.layer.weight.dtype == torch.float32
    assert told == {"float32": torch.float32, "bfloat16": torch.bfloat16}


def test_batches_are_drawn_once_each_in_order_and_an_error_of_drawing_is_told() -> None:
    steps = []

    def noted(step: int) -> Batch:
        steps.append(step)
        if step == 7:
            raise ValueError("no more")
        return draw(step)

    torch.manual_seed(0)
    model = Line()
    schedule = Schedule(epochs=3, steps=4, batch=4, patch=2)
    with pytest.raises(ValueError, match="no more"):
        fit(model, [Phase("one", model, schedule, noted)], Rank(), seed=1)
    assert steps == list(range(8))


def test_a_phase_finishes_once_and_its_last_checkpoint_holds_what_that_found() -> None:
    rank, finished = Rank(), []

    def run(model: Line) -> float:
        last = model.layer[2]
        assert isinstance(last, nn.Linear)

        def finish() -> None:
            finished.append(rank.left)
            nn.init.constant_(last.bias, 7.0)

        schedule = Schedule(epochs=3, steps=2, batch=4, patch=2)
        fit(model, [Phase("line", model, schedule, draw, finish=finish)], rank, 0)
        return float(last.bias.detach())

    assert run(Line()) == 7.0
    assert finished == [10**6 - 2]  # after the last epoch, before its checkpoint
    assert run(Line()) == 7.0  # restored, not finished again
    assert len(finished) == 1


@pytest.mark.parametrize("patience", [None, 1, 2, 9])
def test_the_best_epoch_is_kept_and_an_end_without_better_ones_is_not_awaited(
    patience: int | None,
) -> None:
    """Losses are a list; the same holds for a run that is killed after any of its epochs."""
    losses = [3.0, 1.0, 2.0, 1.0, 0.5, 4.0, 4.0]
    ends = {None: 7, 1: 3, 2: 4, 9: 7}[patience]
    best = {None: 5, 1: 2, 2: 2, 9: 5}[patience]
    schedule = Schedule(epochs=7, steps=2, batch=4, patch=2, learning_rate=0.01)

    finished: list[dict[str, Tensor]] = []

    def run(rank: Rank) -> tuple[State, list[dict[str, Tensor]]]:
        torch.manual_seed(0)
        model, seen = Line(), []

        def judged() -> float:
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
            done = from_bytes(rank.kept)["history"] if rank.kept else []
            return losses[len(done)]  # type: ignore[arg-type]

        def finish() -> None:
            finished.append({name: value.clone() for name, value in model.state_dict().items()})

        validation = Validation(judged, patience)
        phase = Phase("line", model, schedule, draw, finish=finish, validation=validation)
        fit(model, [phase], rank, seed=1)
        assert rank.kept is not None
        return from_bytes(rank.kept), seen

    state, seen = run(Rank())
    told = [entry["validation_loss"] for entry in state["history"]]  # type: ignore[attr-defined]
    assert told == losses[:ends]
    assert len(finished) == 1
    for name, value in seen[best - 1].items():
        assert torch.equal(state["model"][name], value)  # type: ignore[index]
        assert torch.equal(finished[0][name], value)
    for epochs in range(1, ends + 1):
        rank = Rank(dies_after=epochs)
        with pytest.raises(Killed):
            run(rank)
        again, _ = run(rank)
        repeated = [entry["validation_loss"] for entry in again["history"]]  # type: ignore[attr-defined]
        assert repeated == told
        for name, value in seen[best - 1].items():
            assert torch.equal(again["model"][name], value)  # type: ignore[index]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_validation_that_is_no_number_ends_the_run(loss: float) -> None:
    model = Line()
    phase = Phase(
        "line",
        model,
        Schedule(epochs=2, steps=1, batch=4, patch=2),
        draw,
        validation=Validation(lambda: loss, None),
    )
    with pytest.raises(TrainingError, match=r"line: the validation loss of epoch 1 is (nan|inf)"):
        fit(model, [phase], Rank(), seed=1)
