"""SIGKILL of a rank, a node or a driver of Ray Train: training ends as if nothing had happened."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster

from sscl_geo.errors import InvalidInputError, SsclGeoError, TrainingError
from sscl_geo.io.bundle import Bundle, read_card, read_weights
from sscl_geo.io.cubes import Classes
from sscl_geo.learn.checkpoint import from_bytes
from sscl_geo.learn.fit import Rank
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import BOARD, CHECKPOINT, LINES, Ranks
from sscl_geo.runtime.gangs import ray_train
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.pretrain import PretrainRequest, pretrain

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

EPOCHS = 5
PATIENCE = 300
"""Seconds after which a run counts as hung."""
EXACT = 1e-6
"""How far losses and weights of equally many ranks may be apart."""
ROUNDED = 1e-5
"""How far losses of other numbers of ranks may be, whose sums round otherwise."""


class Training(NamedTuple):
    """A training, and a cluster of two nodes with a CPU each, where it may run."""

    cluster: Cluster
    learned: Any
    study: Study
    is_pretraining: bool = False

    def ranks(self, count: int, **changes: object) -> Ranks:
        address = self.cluster.address if count else None
        return Ranks.model_validate({"ranks": count, "address": address, **changes})

    def to(self, out: Path, ranks: Ranks) -> Bundle:
        if self.is_pretraining:
            wanted = PretrainRequest(imagery=(self.learned.cube,), study=self.study)
            return pretrain(wanted, out, ranks)
        request = FinetuneRequest(
            imagery=(self.learned.cube,),
            labels=(self.learned.labels,),
            encoder=self.learned.encoder,
            study=self.study,
        )
        return finetune(request, out, ranks)

    @contextlib.contextmanager
    def beside(self, out: Path, ranks: Ranks) -> Iterator[Future[Bundle]]:
        """Train in another thread, as nodes are added in the first only."""
        thread = ThreadPoolExecutor(1)
        try:
            yield thread.submit(self.to, out, ranks)
        finally:
            thread.shutdown(wait=False)


@pytest.fixture(scope="module")
def training(
    learned: Any, tiny_study: Study, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Training]:
    schedule = tiny_study.finetune.schedule.replace(epochs=EPOCHS, steps=12)
    study = tiny_study.replace(finetune=tiny_study.finetune.replace(schedule=schedule))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        if sys.dont_write_bytecode:  # else the ranks of every life compile torch anew
            environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        head = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(num_cpus=1)
            training = Training(cluster, learned, study)
            with ray_train.session(training.ranks(2)):
                yield training
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def undisturbed(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("undisturbed") / "model"
    training.to(out, training.ranks(2))
    return out


def strike(out: Path, blow: Callable[[], object]) -> list[Any]:
    """Strike a run in an epoch after its first and before its last; return those behind it."""
    checkpoint, deadline = out / "run" / CHECKPOINT, time.monotonic() + PATIENCE
    while not checkpoint.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)  # into the epoch
    blow()
    behind = from_bytes(checkpoint.read_bytes())["history"]
    assert isinstance(behind, list)
    assert 1 <= len(behind) < EPOCHS
    return behind


def kill_a_rank() -> None:
    ranks = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                ranks.append(process)
    assert len(ranks) == 2
    ranks[0].send_signal(signal.SIGKILL)


def epochs(out: Path) -> list[Any]:
    """Return what a bundle tells of its training, every epoch once."""
    card = read_card(out)
    phases = ("unifeat", "core") if card.kind == "encoder" else ("finetune",)
    found = [entry for entry in card.history if entry["phase"] in phases]
    told = [(entry["phase"], entry["epoch"]) for entry in found]
    assert told == [(phase, epoch) for phase in phases for epoch in range(1, EPOCHS + 1)]
    return found


def assert_resumed(out: Path, behind: list[Any], other: Path, tolerance: float = EXACT) -> None:
    """Let only a run pass that did no epoch twice and has the losses of another."""
    found = epochs(out)
    # No epoch takes as long, to the microsecond, when it is done again.
    assert found[: len(behind)] == behind
    expected = [entry["loss"] for entry in epochs(other)]
    assert [entry["loss"] for entry in found] == pytest.approx(expected, rel=0, abs=tolerance)


def assert_alike(one: Path, other: Path) -> None:
    """Let only two bundles of the same weights pass."""
    weights = [read_weights(out, read_card(out)) for out in (one, other)]
    for name, values in weights[0].items():
        assert np.allclose(values, weights[1][name], rtol=0, atol=EXACT), name


def test_a_rank_killed_in_an_epoch_is_replaced(
    training: Training, undisturbed: Path, tmp_path: Path, tally: Counter[str]
) -> None:
    tally["kills of ranks, nodes and drivers of training"] += 1
    out = tmp_path / "model"
    with training.beside(out, training.ranks(2)) as trained:
        behind = strike(out, kill_a_rank)
        trained.result(PATIENCE)
    assert_resumed(out, behind, undisturbed)
    assert_alike(out, undisturbed)


def test_a_node_removed_in_a_pretraining_is_waited_for(
    training: Training, tmp_path: Path, tally: Counter[str]
) -> None:
    """UniFeat, whose loss is over both ranks, and CoRe, whose damage each draws by itself."""
    tally["kills of ranks, nodes and drivers of training"] += 1
    pretexts = tuple(
        one.replace(schedule=one.schedule.replace(epochs=EPOCHS, steps=6))
        for one in training.study.pretexts
    )
    training = training._replace(
        study=training.study.replace(pretexts=pretexts), is_pretraining=True
    )
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "encoder"
    training.to(undisturbed, training.ranks(2))
    (lost,) = training.cluster.worker_nodes
    with training.beside(out, training.ranks(2)) as trained:
        behind = strike(out, lambda: training.cluster.remove_node(lost, allow_graceful=False))
        training.cluster.add_node(num_cpus=1)
        trained.result(PATIENCE)
    assert_resumed(out, behind, undisturbed)
    assert_alike(out, undisturbed)


def kill_a_driver(driver: subprocess.Popen[bytes]) -> None:
    """Kill a command alone; the ranks and the rest of its cluster must end by themselves."""
    family = psutil.Process(driver.pid).children(recursive=True)
    # Ray's agents try for a minute to tell a server of it that is dead too.
    agents = [one for one in family if "Agent" in " ".join(one.cmdline())]
    driver.kill()
    driver.wait()
    survivors = psutil.wait_procs([one for one in family if one not in agents], timeout=60)[1]
    for process in (*agents, *survivors):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not survivors


def test_a_driver_killed_in_an_epoch_is_run_again(
    training: Training, undisturbed: Path, tmp_path: Path, tally: Counter[str]
) -> None:
    tally["kills of ranks, nodes and drivers of training"] += 1
    out, study, learned = tmp_path / "model", tmp_path / "study.yaml", training.learned
    study.write_text(yaml.safe_dump(training.study.model_dump(mode="json")))
    command = [
        *(f"{sysconfig.get_path('scripts')}/sscl-geo", "finetune", "--cube", str(learned.cube)),
        *("--labels", str(learned.labels), "--encoder", str(learned.encoder)),
        *("--out", str(out), "--study", str(study), "--ranks", "2"),
    ]
    # Ranks outlive their driver by two seconds, in which reports to this controller hold them up.
    slow = {**os.environ, "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.5"}
    with subprocess.Popen(command, env=slow) as driver:
        try:
            behind = strike(out, lambda: kill_a_driver(driver))
        finally:
            driver.kill()
    subprocess.run(command, check=True, timeout=PATIENCE)
    lines = (out / BOARD / LINES).read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"epoch {n + 1}" for n in range(EPOCHS)]
    assert_resumed(out, behind, undisturbed)
    assert_alike(out, undisturbed)


def test_other_numbers_of_ranks_go_on_with_the_same_samples(
    training: Training, tmp_path: Path
) -> None:
    """Without batch statistics, only the samples would tell how many ranks drew them."""
    numbers = training.study.finetune
    linear = numbers.replace(settings=numbers.settings.replace(protocol="linear"))
    training = training._replace(
        study=training.study.replace(finetune=linear),
        learned=training.learned._replace(labels=filled(training.learned.labels, tmp_path)),
    )
    alone, out = tmp_path / "alone", tmp_path / "killed"
    training.to(alone, Ranks())
    with training.beside(out, training.ranks(2, max_failures=0)) as trained:
        behind = strike(out, kill_a_rank)
        with pytest.raises(TrainingError, match="the same command resumes from its last epoch"):
            trained.result(PATIENCE)
    with pytest.raises(InvalidInputError, match="on 3 ranks: the batch must be a multiple"):
        training.to(out, training.ranks(3))
    for count in (1, 0):
        shutil.copytree(out, tmp_path / str(count))
        training.to(tmp_path / str(count), training.ranks(count))
        assert_resumed(tmp_path / str(count), behind, alone, ROUNDED)


def test_what_fails_for_a_reason_that_lasts_is_told_and_not_tried_again(
    training: Training, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def job(kind: type[SsclGeoError], rank: Rank) -> None:
        with (run / f"tries-{rank.rank}").open("a") as file:
            file.write("x")
        if rank.rank == 1:
            raise kind("nothing to learn from; take more labels")
        rank.restore()  # waits for the other

    for kind in (InvalidInputError, TrainingError):  # a second command tries again
        with pytest.raises(kind, match=r"^nothing to learn from; take more labels$"):
            ray_train.run(partial(job, kind), run, training.ranks(2))
    assert (run / "tries-1").read_text() == "xx"


def filled(labels: Path, folder: Path) -> Path:
    """Copy labels and leave no pixel without, so that all samples count alike."""
    shutil.copytree(labels, folder / "labels.zarr")
    classes = Classes.open(folder / "labels.zarr", "labels")
    array = classes.store.array(f"{classes.grids[0].zone}/{classes.name}")
    values = array[:]
    array[:] = np.where(values, values, 1)
    return folder / "labels.zarr"
