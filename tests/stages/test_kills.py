"""SIGKILL of driver, worker and scheduler at random moments: the same bytes after another run."""

import contextlib
import json
import multiprocessing
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from sscl_geo.errors import SsclGeoError
from sscl_geo.geo.legend import Legend
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.tables import TILES
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.baseline import ForestRequest, make_baseline
from sscl_geo.stages.ingest import IngestRequest, ingest
from sscl_geo.stages.labels import LabelsRequest, make_labels

Content = Callable[[AnyLocation], dict[str, bytes]]

LIVES = 4
"""How many lives a store has before one is left alone."""

# Children come from a server that has imported everything, so that a life is short.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(
    [
        *("sscl_geo.stages.ingest", "sscl_geo.runtime.executors.serial"),
        *("sscl_geo.stages.labels", "sscl_geo.stages.baseline"),
    ]
)


def run(request: IngestRequest, out: AnyLocation, machines: Machines) -> None:
    with contextlib.suppress(SsclGeoError):
        ingest(request, out, machines)


class Alone(NamedTuple):
    """A request, the cube of a life that was left alone, and how long that life was."""

    request: IngestRequest
    cube: Path
    seconds: float


@pytest.fixture(scope="module")
def alone(world: Any, s3: str, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    assert s3  # children of the fork server know the bucket only if it was there before
    request = world.request(sensors=("sentinel2_l2a",))
    out = tmp_path_factory.mktemp("alone") / "cube.zarr"
    started = time.monotonic()
    life = SPAWN.Process(target=run, args=(request, out, Machines()))
    life.start()
    life.join()
    return Alone(request, out, time.monotonic() - started)


def test_a_driver_killed_at_random_moments(
    alone: Alone, tmp_path: Path, content: Content, wanted: int, tally: Counter[str]
) -> None:
    kills, number = 0, 0
    while kills < wanted:
        rng = random.Random(number)  # noqa: S311 - moments, not secrets
        out = tmp_path / f"{number}.zarr"
        for _ in range(LIVES):
            life = SPAWN.Process(target=run, args=(alone.request, out, Machines()))
            life.start()
            life.join(rng.uniform(0, 0.35 * alone.seconds))
            kills += life.is_alive()
            life.kill()
            life.join()
        ingest(alone.request, out, Machines())
        assert content(out) == content(alone.cube)
        number += 1
        assert number <= wanted, "the machine is too quick for the moments"
    tally["kills of a driver"] += kills


def test_a_driver_killed_at_random_moments_that_writes_to_a_bucket(
    alone: Alone, s3: str, content: Content, wanted: int, tally: Counter[str]
) -> None:
    out, rng, kills = location(f"{s3}/killed/cube.zarr"), random.Random(3), 0  # noqa: S311
    for number in range(max(3, wanted)):
        if number % 10 == 9:
            out.delete()
        life = SPAWN.Process(target=run, args=(alone.request, out, Machines()))
        before = out.names()
        life.start()
        while life.is_alive() and out.names() == before:
            life.join(0.05)
        life.join(rng.uniform(0, 0.1))
        kills += life.is_alive()
        life.kill()
        life.join()
    ingest(alone.request, out, Machines())
    assert kills >= 1
    tally["kills of a driver"] += kills
    assert content(out) == content(alone.cube)


def make(cube: Path, labels: LabelsRequest | Path, out: Path) -> None:
    """Make labels, or a forest's map."""
    with contextlib.suppress(SsclGeoError):
        if isinstance(labels, LabelsRequest):
            make_labels(labels, out)
        else:
            make_baseline(cube, labels, out, ForestRequest(trees=5))


@pytest.fixture(params=["labels", "forest"])
def taught(
    request: pytest.FixtureRequest, world: Any, learned: Any, dfc2020: Legend
) -> LabelsRequest | Path:
    """Labels that are asked for, or those that a forest learns."""
    if request.param == "labels":
        return LabelsRequest(cube=learned.cube, source=world.truth, legend=dfc2020)
    return Path(learned.labels)


def test_labels_and_forests_killed_at_random_moments(
    taught: LabelsRequest | Path,
    learned: Any,
    tmp_path: Path,
    content: Content,
    tally: Counter[str],
) -> None:
    def life(out: Path) -> Any:
        started = SPAWN.Process(target=make, args=(learned.cube, taught, out))
        started.start()
        return started

    # The first life of all starts the server.
    life(tmp_path / "warm.zarr").join()
    begun = time.monotonic()
    life(tmp_path / "alone.zarr").join()
    seconds, kills, number = time.monotonic() - begun, 0, 0
    assert TILES in content(tmp_path / "alone.zarr")
    while kills < LIVES:
        rng, out = random.Random(number), tmp_path / f"{number}.zarr"  # noqa: S311
        for _ in range(LIVES):
            one, begun = life(out), time.monotonic()
            one.join(rng.uniform(0.2, 0.9) * seconds)
            if not one.is_alive():
                # Quicker than when lives were timed, or with little left to do.
                seconds = min(seconds, time.monotonic() - begun)
                break
            kills += 1
            one.kill()
            one.join()
        life(out).join()
        assert content(out) == content(tmp_path / "alone.zarr")
        number += 1
        assert number <= LIVES, "the machine is too quick for the moments"
    tally["kills of a driver"] += kills


class Cluster(NamedTuple):
    """A scheduler and its two workers, each a process of its own."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: tuple[subprocess.Popen[bytes], ...]

    def kill(self, victim: str, rng: random.Random) -> None:
        process = self.scheduler if victim == "scheduler" else rng.choice(self.workers)
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    """Return what starts a cluster; all of them are gone after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> Cluster:
        file = tmp_path / f"scheduler-{len(running)}.json"
        words = ["--scheduler-file", str(file), "--no-dashboard"]
        first = launch("scheduler", "--host", "127.0.0.1", "--port", "0", *words)
        while not file.exists():
            time.sleep(0.05)
        quick = ("--nthreads", "1", "--no-nanny", "--death-timeout", "20")
        workers = tuple(launch("worker", *quick, *words) for _ in range(2))
        running.extend((first, *workers))
        return Cluster(json.loads(file.read_text())["address"], first, workers)

    yield start
    for process in running:
        process.kill()
        process.wait()


def launch(what: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_workers_and_scheduler_killed_at_random_moments(
    alone: Alone,
    tmp_path: Path,
    content: Content,
    scheduler: Callable[[], Cluster],
    wanted: int,
    tally: Counter[str],
) -> None:
    rng, kills = random.Random(1), 0  # noqa: S311 - moments, not secrets
    for number, victim in enumerate(("worker", "scheduler") * max(wanted // 6, 1)):
        # A store takes two strikes, and the next is another: what is done already cannot be struck.
        out = tmp_path / f"{number // 2}.zarr"
        cluster = scheduler()
        machines = Machines(executor="dask", address=cluster.address)
        life = SPAWN.Process(target=run, args=(alone.request, out, machines))
        life.start()
        life.join(rng.uniform(0.3, 0.9) * alone.seconds)
        kills += life.is_alive()
        cluster.kill(victim, rng)
        life.join(60)
        assert not life.is_alive()
        if number % 2:
            ingest(alone.request, out, Machines())
            assert content(out) == content(alone.cube)
    assert kills >= 1
    tally["kills of workers and schedulers"] += kills
