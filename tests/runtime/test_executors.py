import contextlib
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cloudpickle  # type: ignore[import-untyped]
import dask
import pytest
from distributed import Client
from distributed.security import Security

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError, ReadError
from sscl_geo.geo.grid import Tile
from sscl_geo.runtime.executors import dask as dask_executor
from sscl_geo.runtime.work import EXECUTORS, Evidence, Machines, Outcome, attempt, machines_of

# Workers cannot import this file, so its functions travel whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

NAMES = plugins.names(EXECUTORS)
UNITS = tuple(
    Tile(zone="epsg32633", row=row, column=column) for row in range(4) for column in range(5)
)
TWO = 2
GPUS = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep what distributed says of dying workers from the terminal."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def fate(unit: Tile) -> Evidence:
    """Do a unit well, without data, or not at all, as its column says."""
    if unit.column == 1:
        raise ReadError(f"{unit.key} cannot be read: the sea is deep")
    if unit.column == TWO:
        raise KeyError(f"{unit.row}\nand more")
    return {"empty": unit.column == 3, "pixels": unit.row * 10, "checksums": {"a": unit.key}}


def fatal(unit: Tile) -> Evidence:
    """Kill the process that runs one of the units."""
    if (unit.row, unit.column) == (1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pixels": unit.row}


def process_and_gpus() -> tuple[int, str | None]:
    """Return which process this is, and which GPUs CUDA would show it."""
    return os.getpid(), os.environ.get(GPUS)


def outcomes(name: str, units: tuple[Tile, ...]) -> dict[str, Outcome]:
    execute = plugins.find(EXECUTORS, name).execute
    found = list(execute(fate, units, Machines(executor=name)))
    assert len({outcome.key for outcome in found}) == len(found)
    return {outcome.key: outcome.replace(run=None) for outcome in found}


@pytest.mark.cluster
@pytest.mark.parametrize("name", NAMES)
def test_every_executor_tells_the_same_whatever_the_order(name: str) -> None:
    shuffled = random.Random(3).sample(UNITS, len(UNITS))  # noqa: S311 - no secret
    found = outcomes(name, tuple(shuffled))
    assert found == outcomes("serial", UNITS)
    statuses = {unit.column: found[unit.key].status for unit in UNITS}
    assert statuses == {0: "done", 1: "failed", 2: "failed", 3: "empty", 4: "done"}
    assert found["epsg32633/2/1"].cause == "epsg32633/2/1 cannot be read: the sea is deep"
    assert found["epsg32633/2/2"].cause.startswith("KeyError: ")
    assert found["epsg32633/2/4"].evidence["pixels"] == 20
    assert all("\n" not in outcome.cause for outcome in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_units_need_no_machines(name: str) -> None:
    assert outcomes(name, ()) == {}


@pytest.mark.cluster
def test_a_unit_that_kills_its_workers_fails_alone() -> None:
    units = UNITS[:12]
    found = {
        outcome.key: outcome
        for outcome in dask_executor.execute(fatal, units, Machines(executor="dask"))
    }
    assert set(found) == {unit.key for unit in units}
    assert [key for key, outcome in found.items() if outcome.status != "done"] == ["epsg32633/1/1"]
    assert "KilledWorker" in found["epsg32633/1/1"].cause


def memory_settings(_: Tile) -> Evidence:
    """Return what this process was started with, which is what its C library has read."""
    begun = dict(
        one.partition("=")[::2] for one in Path("/proc/self/environ").read_text().split("\0")
    )
    return {"kept": begun["MALLOC_MMAP_THRESHOLD_"], "threads": begun["OMP_NUM_THREADS"]}


@pytest.mark.cluster
def test_workers_are_started_so_that_memory_stays_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machines = Machines(executor="dask", workers=1)
    (outcome,) = dask_executor.execute(memory_settings, UNITS[:1], machines)
    assert outcome.evidence == {"kept": str(2**25), "threads": "1"}


@pytest.mark.cluster
@pytest.mark.parametrize(("shown", "own"), [(None, ["0", "1"]), ("5,GPU-a,7", ["5", "GPU-a"])])
def test_each_worker_of_a_local_cluster_is_shown_one_gpu_even_when_it_starts_again(
    shown: str | None, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(GPUS, raising=False)
    if shown is not None:
        monkeypatch.setenv(GPUS, shown)
    with dask_executor._client(Machines(executor="dask", workers=2, gpus=True)) as client:
        before = client.run(process_and_gpus)
        assert sorted(gpus for _, gpus in before.values()) == own
        killed, _ = next(iter(before.values()))
        os.kill(killed, signal.SIGKILL)
        after, deadline = before, time.monotonic() + 60
        while len(after) < TWO or killed in dict(after.values()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                after = client.run(process_and_gpus, on_error="ignore")
        assert sorted(gpus for _, gpus in after.values()) == own


def gpus_seen(_: Tile) -> Evidence:
    return {"gpus": process_and_gpus()[1]}


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_shows_each_unit_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ray takes this word for it, and hands out what it never looks at.
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"GPU": 2}))
    machines = Machines(executor="ray_tasks", gpus=True)
    found = list(plugins.find(EXECUTORS, "ray_tasks").execute(gpus_seen, UNITS[:6], machines))
    assert len(found) == 6
    assert {outcome.evidence["gpus"] for outcome in found} <= {"0", "1"}


@pytest.mark.cluster
def test_workers_that_need_no_gpu_see_what_this_process_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(GPUS, "5,7")
    with dask_executor._client(Machines(executor="dask", workers=1)) as client:
        assert [gpus for _, gpus in client.run(process_and_gpus).values()] == ["5,7"]


@pytest.mark.cluster
def test_a_local_cluster_takes_nobody_without_its_certificate() -> None:
    with dask_executor._client(Machines(executor="dask", workers=1)) as client:
        address = str(client.scheduler_info()["address"])
        assert address.startswith("tls://127.0.0.1:")
        assert client.submit(sum, [1, 2]).result() == 3
        for stranger in (address, address.replace("tls://", "tcp://")):
            with pytest.raises((OSError, TypeError, ValueError)):
                Client(stranger, timeout=2, set_as_default=False)  # type: ignore[no-untyped-call]


@pytest.mark.cluster
def test_no_client_is_that_of_whatever_else_this_process_computes() -> None:
    outcomes = dask_executor.execute(fate, UNITS[:2], Machines(executor="dask", workers=1))
    with contextlib.closing(outcomes):  # type: ignore[type-var]
        next(outcomes)
        with pytest.raises(ValueError, match="No clients found"):
            Client.current()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("executor", ["serial", "ray_tasks"])
def test_an_address_of_dask_is_of_no_other_executor(executor: str) -> None:
    assert machines_of("dask", 2, "tls://here:1").address == "tls://here:1"
    with pytest.raises(InvalidInputError, match=f"--dask tls://here:1: is of .*not {executor}"):
        machines_of(executor, 2, "tls://here:1")


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "CONNECT_SECONDS", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    machines = Machines(executor="dask", address=address)
    with pytest.raises(InvalidInputError, match=f"--dask {address}: no scheduler answers") as error:
        list(dask_executor.execute(fate, UNITS, machines))
    assert "\n" not in str(error.value)


class Tls(NamedTuple):
    """A cluster that asks for certificates, and the variables that name a client's."""

    address: str
    environment: dict[str, str]


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    given = Security.temporary()  # type: ignore[no-untyped-call]
    files = {"ca": given.tls_ca_file, "cert": given.tls_client_cert, "key": given.tls_client_key}
    for name, text in files.items():
        (tmp_path / f"{name}.pem").write_text(text)
    ca, cert, key = (str(tmp_path / f"{name}.pem") for name in files)
    told = tmp_path / "scheduler.json"
    common = [
        *("--scheduler-file", str(told), "--protocol", "tls", "--no-dashboard"),
        *("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key),
    ]
    commands = [["scheduler", "--host", "127.0.0.1", "--port", "0"], ["worker", "--no-nanny"]]
    processes = []
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    names = {f"{prefix}CA_FILE": ca, f"{prefix}CLIENT__CERT": cert, f"{prefix}CLIENT__KEY": key}
    try:
        for words in commands:
            command = [sys.executable, "-m", f"distributed.cli.dask_{words[0]}"]
            process = subprocess.Popen([*command, *words[1:], *common], stderr=subprocess.DEVNULL)
            processes.append(process)
            address = _told_address(told)  # a worker that starts earlier reads half of it
        yield Tls(address, names)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _told_address(file: Path) -> str:
    """Return where a scheduler listens, once all of what it tells has been written."""
    while True:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.05)


@pytest.mark.cluster
def test_a_scheduler_that_asks_for_a_certificate_works_only_with_one(
    tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    machines = Machines(executor="dask", address=tls.address)
    assert tls.address.startswith("tls://")
    with pytest.raises(InvalidInputError, match="DASK_DISTRIBUTED__COMM__TLS__CA_FILE") as error:
        list(dask_executor.execute(fate, UNITS, machines))
    assert "\n" not in str(error.value)
    named = dask.config.collect_env({**os.environ, **tls.environment})
    with dask.config.set(dask.config.merge(dask.config.config, named)):
        found = list(dask_executor.execute(fate, UNITS, machines))
    assert {outcome.key for outcome in found} == {unit.key for unit in UNITS}
    assert not [record for record in caplog.records if "certificate" in record.message]


@pytest.mark.parametrize(
    ("address", "is_shut"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://localhost:8786", True),
        ("tls://scheduler:8786", True),
        ("tcp://scheduler:8786", False),
        ("tcp://10.0.0.5:8786", False),
        ("ws://10.0.0.5:8786", False),
    ],
)
def test_a_scheduler_that_others_reach_is_told_from_one_that_they_do_not(
    address: str, is_shut: bool
) -> None:
    assert dask_executor._is_shut(address) is is_shut


@pytest.mark.parametrize(
    "error",
    [ValueError(), ValueError("\n"), ValueError("a" * 5000), ValueError("\udcff"), OSError(5)],
)
def test_whatever_a_unit_raises_is_told_in_one_line(error: Exception) -> None:
    def task(_: Tile) -> Evidence:
        raise error

    outcome = attempt(task, UNITS[0])
    assert outcome.status == "failed"
    assert outcome.cause.startswith(type(error).__name__)
    assert "\n" not in outcome.cause
    assert len(outcome.cause) <= 300
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_an_interrupt_ends_the_run() -> None:
    def task(_: Tile) -> Evidence:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(task, UNITS[0])
