"""SIGKILL of driver, worker and scheduler at random moments: the same bytes after another run."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sscl_geo.errors import SsclGeoError
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import IngestRequest, ingest

Content = Callable[[Path], dict[str, bytes]]

ROUNDS, KILLS = 9, 4

# Children come from a server that has imported everything, so that a life is short.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["sscl_geo.stages.ingest", "sscl_geo.runtime.executors.serial"])


def run(request: IngestRequest, out: AnyLocation, machines: Machines) -> None:
    with contextlib.suppress(SsclGeoError):
        ingest(request, out, machines)


@pytest.fixture(scope="module")
def request_and_cube(
    world: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[IngestRequest, Path]:
    request = world.request(sensors=("sentinel2_l2a",))
    out = tmp_path_factory.mktemp("alone") / "cube.zarr"
    ingest(request, out, Machines())
    return request, out


def moments(rng: random.Random, out: Path) -> Iterator[float]:
    """Wait until a life has begun to write, then yield a random moment later."""
    deadline = time.monotonic() + 60
    before = set(out.parent.rglob("*"))
    while set(out.parent.rglob("*")) <= before and time.monotonic() < deadline:
        time.sleep(0.005)
    yield rng.uniform(0, 0.6)


def test_a_driver_killed_at_random_moments(
    request_and_cube: tuple[IngestRequest, Path], tmp_path: Path, content: Content
) -> None:
    request, cube = request_and_cube
    kills = 0
    for number in range(ROUNDS):
        rng = random.Random(number)  # noqa: S311 - moments, not secrets
        out = tmp_path / f"{number}.zarr"
        for _ in range(KILLS):
            life = SPAWN.Process(target=run, args=(request, out, Machines()))
            life.start()
            for moment in moments(rng, out):
                life.join(moment)
            kills += life.is_alive()
            life.kill()
            life.join()
        ingest(request, out, Machines())
        assert content(out) == content(cube)
    assert kills >= ROUNDS


def test_a_driver_killed_at_random_moments_that_writes_to_a_bucket(
    request_and_cube: tuple[IngestRequest, Path], s3: str, content: Content
) -> None:
    request, cube = request_and_cube
    out, rng, kills = location(f"{s3}/killed/cube.zarr"), random.Random(3), 0  # noqa: S311
    for _ in range(3):
        life, before = SPAWN.Process(target=run, args=(request, out, Machines())), out.names()
        life.start()
        while life.is_alive() and out.names() == before:
            life.join(0.05)
        life.join(rng.uniform(0, 0.6))
        kills += life.is_alive()
        life.kill()
        life.join()
    ingest(request, out, Machines())
    assert kills >= 1
    made = {name: (out / name).read_bytes() for name in out.names() if "ledger/" not in name}
    assert made == content(cube)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Return what starts a scheduler with two workers, and kills the one before."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        kill_all()
        file = tmp_path / f"scheduler-{len(running)}.json"
        words = ["--scheduler-file", str(file), "--no-dashboard"]
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        running.append(launch([*dask, "--port", "0", *words]))
        while not file.exists():
            time.sleep(0.05)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
        running.append(launch([*worker, "--nworkers", "2", *words]))
        return f"file:{file}"

    def kill_all() -> None:
        for process in running:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()

    yield start
    kill_all()


def launch(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_worker_killed_at_random_moments(
    request_and_cube: tuple[IngestRequest, Path], tmp_path: Path, content: Content
) -> None:
    request, cube = request_and_cube
    machines = Machines(executor="dask")
    out, rng, kills = tmp_path / "cube.zarr", random.Random(1), 0  # noqa: S311
    life = SPAWN.Process(target=run, args=(request, out, machines), daemon=False)
    life.start()
    while life.is_alive() and kills < 6:
        life.join(rng.uniform(0.2, 1.0))
        workers = [p for p in psutil.Process(life.pid).children(recursive=True) if is_worker(p)]
        if workers and out.exists():
            os.kill(rng.choice(workers).pid, signal.SIGKILL)
            kills += 1
    life.join()
    ingest(request, out, Machines())
    assert kills >= 1
    assert content(out) == content(cube)


def is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False
