"""Ingest on broken machines: a full disk, a network that goes away, a faulty object store, two
commands at once. What stands in the end is what an undisturbed run makes, byte for byte."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sscl_geo.io.location import AnyLocation, Location, location
from tests.faults.proxy import Plan, faulty

Content = Callable[[AnyLocation], dict[str, bytes]]
ROOT = Path(__file__).parents[2]
DAYS = ("--datetime", "2024-04-01/2024-04-30", "--period", "P15D", "--tile-px", "256")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes mounts and networks")


class Job(NamedTuple):
    """A command that ingests, but for where to."""

    words: tuple[str, ...]
    variables: dict[str, str]

    def start(self, out: AnyLocation, *wrapper: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "sscl_geo.ingest", *self.words, "--out", str(out)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, out: AnyLocation, *wrapper: str) -> subprocess.CompletedProcess[str]:
        process = self.start(out, *wrapper)
        said = process.communicate(timeout=300)[1]
        return subprocess.CompletedProcess((), process.returncode, "", said)


@pytest.fixture(scope="module")
def job(world: Any) -> Job:
    box = ("--bbox", *map(str, world.bbox), "--sensors", "sentinel2_l2a")
    words = ("--catalog", world.api, *box, *DAYS, "--no-pixel-witness", "--executor", "serial")
    return Job(words, {})


@pytest.fixture(scope="module")
def alone(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the job makes undisturbed."""
    out = tmp_path_factory.mktemp("alone") / "cube.zarr"
    done = job.run(out)
    assert done.returncode == 0, done.stderr
    return out


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed command said, which is for its user to understand."""
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def system(*words: str) -> None:
    """Ask the operating system for something."""
    subprocess.run(words, check=True)


@needs_root
def test_a_full_disk_is_told_and_the_same_command_goes_on_when_there_is_room(
    job: Job, alone: Path, tmp_path: Path, content: Content, tally: Counter[str]
) -> None:
    size = sum(path.stat().st_size for path in alone.rglob("*") if path.is_file())
    dask = job._replace(words=(*job.words, "--executor", "dask"))
    disk = tmp_path / "disk"
    disk.mkdir()
    for share, here in ((0.1, job), (0.6, dask)):
        system("mount", "-t", "tmpfs", "-o", f"size={int(size * share)}", "tmpfs", str(disk))
        try:
            assert "No space left" in told(here.run(disk / "cube.zarr"))
            tally["full disks"] += 1
            system("mount", "-o", f"remount,size={8 * size}", str(disk))
            done = job.run(disk / "cube.zarr")
            assert done.returncode == 0, done.stderr
            assert content(disk / "cube.zarr") == content(alone)
        finally:
            system("umount", str(disk))


class Island(NamedTuple):
    """A network of its own, whose only wire can be cut."""

    name: str

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def wire(self, state: str) -> None:
        system("ip", "-n", self.name, "link", "set", "lo", state)


@contextmanager
def island() -> Iterator[Island]:
    made = Island(f"sscl-geo-{os.getpid()}")
    system("ip", "netns", "add", made.name)
    try:
        made.wire("up")
        yield made
    finally:
        system("ip", "netns", "delete", made.name)


@needs_root
def test_a_network_that_goes_away_and_comes_back_leaves_no_trace(
    job: Job, world: Any, tmp_path: Path, content: Content, tally: Counter[str], wanted: int
) -> None:
    rng = random.Random(4)  # noqa: S311 - moments, not secrets
    with island() as net:
        serve = [
            *(sys.executable, "-m", "sscl_geo.cli", "serve", str(world.catalog)),
            *("--port", "7822"),
        ]
        with subprocess.Popen(
            [*net.inside, *serve],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as server:
            try:
                assert server.stdout is not None
                assert "STAC API" in server.stdout.readline()
                here = ("--catalog", "http://127.0.0.1:7822", *job.words[2:], "--executor", "dask")
                mine = job._replace(words=here)
                assert mine.run(tmp_path / "alone.zarr", *net.inside).returncode == 0
                cuts, number, goal = 0, 0, max(1, wanted // 10)
                while cuts < goal:
                    assert number < 5 * goal, "the machine is too quick for the moments"
                    out, number = tmp_path / f"{number}.zarr", number + 1
                    process = mine.start(out, *net.inside)
                    while process.poll() is None and not out.exists():
                        time.sleep(0.05)
                    time.sleep(rng.uniform(0, 3))
                    net.wire("down")
                    time.sleep(rng.uniform(0.5, 3))
                    cuts += process.poll() is None
                    net.wire("up")
                    said = process.communicate(timeout=300)[1]
                    if process.returncode:
                        told(subprocess.CompletedProcess((), process.returncode, "", said))
                        assert mine.run(out, *net.inside).returncode == 0
                    assert content(out) == content(tmp_path / "alone.zarr")
                tally["cuts of a network"] += cuts
            finally:
                server.terminate()


def test_a_faulty_object_store_holds_the_same_bytes_in_the_end(
    job: Job, alone: Path, s3: str, content: Content, tally: Counter[str]
) -> None:
    out, faults = (
        location(f"{s3}/chaos/harmed.zarr"),
        ("429", "500", "503", "reset", "truncated", "slow"),
    )
    plan = Plan(share=0.15, faults=faults, seed=3, slow_seconds=0.2)
    with faulty(os.environ["AWS_ENDPOINT_URL"], plan) as proxy:
        harmed = job._replace(variables={"AWS_ENDPOINT_URL": proxy.url})
        done = harmed.run(out)
        for _ in range(5):
            if done.returncode == 0:
                break
            told(done)
            done = harmed.run(out)
        injected = sum(count for fault, count in proxy.counts().items() if fault in faults)
    assert done.returncode == 0, done.stderr
    assert injected > 10
    tally["faults of an object store"] += injected
    assert content(out) == content(alone)


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_of_commands_at_once_each_ends_well_or_is_refused_and_the_cube_is_whole(  # noqa: PLR0917
    job: Job,
    alone: Path,
    s3: str,
    tmp_path: Path,
    content: Content,
    tally: Counter[str],
    wanted: int,
    where: str,
) -> None:
    rng = random.Random(5)  # noqa: S311 - moments, not secrets
    dask = job._replace(words=(*job.words, "--executor", "dask"))
    for number in range(max(1, wanted // 10)):
        here = dask if (where == "bucket") != bool(number % 2) else job
        folder: Location = location(tmp_path) if where == "disk" else location(f"{s3}/chaos")
        out = folder / f"both-{number}.zarr"
        processes = []
        for _ in range(2):
            processes.append(here.start(out))
            time.sleep(rng.uniform(0, 1))
        ended = [(process.communicate(timeout=300)[1], process) for process in processes]
        codes = [process.returncode for _, process in ended]
        assert 0 in codes, [said for said, _ in ended]
        for said, process in ended:
            if process.returncode:
                told(subprocess.CompletedProcess((), process.returncode, "", said))
        tally["commands at once"] += 2
        assert job.run(out).returncode == 0
        assert content(out) == content(alone)
