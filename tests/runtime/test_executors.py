import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator

import cloudpickle  # type: ignore[import-untyped]
import pytest

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError, ReadError
from sscl_geo.geo.grid import Tile
from sscl_geo.runtime.executors import dask as dask_executor
from sscl_geo.runtime.stage import EXECUTORS
from sscl_geo.runtime.work import Evidence, Machines, Outcome, attempt

# Workers cannot import this file, so its functions travel whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

NAMES = plugins.names(EXECUTORS)
UNITS = tuple(
    Tile(zone="epsg32633", row=row, column=column) for row in range(4) for column in range(5)
)
TWO = 2


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


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "CONNECT_SECONDS", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    machines = Machines(executor="dask", address=address)
    with pytest.raises(InvalidInputError, match=f"--dask {address}: no scheduler answers") as error:
        list(dask_executor.execute(fate, UNITS, machines))
    assert "\n" not in str(error.value)


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
