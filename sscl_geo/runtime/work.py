"""Units of work and what becomes of them."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import Field, JsonValue

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError, SsclGeoError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid, Tile, Window
from sscl_geo.redaction import keep_secrets_out_of_logs, without_secrets

EXECUTORS = "sscl_geo.runtime.executors"


@runtime_checkable
class Unit(Protocol):
    """A piece of work: a small value with a name that is unique in its plan."""

    @property
    def key(self) -> str:
        """The unit's name, such as `epsg32633/3/12/2024-04-01`."""


UnitT = TypeVar("UnitT", bound=Unit)

Evidence = dict[str, JsonValue]
"""What a finished unit tells: checksums, counts, provenance; `empty` is true if it had no data."""


class TileUnit(Frozen):
    """One tile of a grid.

    Attributes:
        tile: The tile.
        window: Its pixels.
    """

    tile: Tile
    window: Window

    @property
    def key(self) -> str:
        """The tile's name."""
        return self.tile.key


def tile_units(grids: Sequence[Grid]) -> tuple[TileUnit, ...]:
    """Return a unit for each tile of some grids, in order."""
    return tuple(TileUnit(tile=t, window=grid.window(t)) for grid in grids for t in grid.tiles)


class Run(Frozen):
    """One run of a unit.

    Attributes:
        ended: When it ended, ISO 8601 in UTC.
        seconds: How long it took.
        worker: Host and process that ran it.
    """

    ended: str
    seconds: float
    worker: str


class Outcome(Frozen):
    """What became of a unit.

    Attributes:
        key: The unit's name.
        status: `done`; `empty`, finished without data; or `failed`.
        cause: Why it failed, in one line.
        evidence: What the unit told.
        run: How it was run, which says nothing of its result.
    """

    key: str
    status: Literal["done", "empty", "failed"]
    cause: str = ""
    evidence: Evidence = Field(default_factory=dict)
    run: Run | None = None

    @property
    def record(self) -> Evidence:
        """What it says of the result, as a row of a table."""
        return {"key": self.key, "status": self.status, **self.evidence}


def attempt(task: Callable[[UnitT], Evidence], unit: UnitT) -> Outcome:
    """Run one unit and return what became of it, whatever it raised."""
    keep_secrets_out_of_logs()
    started = time.monotonic()
    outcome = _attempted(task, unit)
    run = Run(
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 3),
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )
    return outcome.replace(run=run)


def _attempted(task: Callable[[UnitT], Evidence], unit: UnitT) -> Outcome:
    try:
        evidence = task(unit)
        status: Literal["done", "empty"] = "empty" if evidence.get("empty") else "done"
        return Outcome(key=unit.key, status=status, evidence=evidence)
    except SsclGeoError as error:
        cause = without_secrets(str(error))
    except Exception as error:  # noqa: BLE001 - one broken unit must not end the others
        cause = without_secrets(f"{type(error).__name__}: {error}").splitlines()[0][:300]
    # A path may hold bytes that are not text; the ledger must take the cause all the same.
    plain = cause.encode("utf-8", "replace").decode()
    return Outcome(key=unit.key, status="failed", cause=plain)


class Machines(Frozen):
    """Where units run; never changes a result.

    Attributes:
        executor: Name of the executor plugin.
        workers: Processes of a local cluster.
        address: Address of a running cluster, such as `tcp://host:8786`; local if None.
        gpus: Whether each unit has a GPU to itself. Ray hands them out, and so does a Dask cluster
            that is started here, to no more workers than there are; in one that runs already,
            workers have what they were started with.
    """

    executor: str = "serial"
    workers: int = Field(default=2, ge=1)
    address: str | None = None
    gpus: bool = False


def machines_of(executor: str, workers: int, address: str | None) -> Machines:
    """Return the machines that a user names; an address is of Dask.

    Raises:
        InvalidInputError: There is no such executor, another than Dask has an address, or there are
            fewer than one worker.
    """
    known = plugins.names(EXECUTORS)
    if executor not in known:
        raise InvalidInputError(f"--executor {executor}: choose one of {', '.join(known)}")
    if address and executor != "dask":
        raise InvalidInputError(
            f"--dask {address}: is of --executor dask, not {executor}; leave one of them out"
        )
    if workers < 1:
        raise InvalidInputError(f"--workers {workers}: must be 1 or more")
    return Machines(executor=executor, workers=workers, address=address)


class Stage(NamedTuple):
    """One step of the story, as five functions over its units.

    Attributes:
        plan: Return all units, in a fixed order.
        prepare: Make the store and clear what a killed run left; idempotent.
        run: Do one unit on any machine and return its evidence. It is pickled, so it carries only
            small values; it owns its unit's shards, so doing it twice does no harm.
        publish: Given every unit's outcome, write what describes the whole.
        memory: Return the most bytes that one unit needs at a time.
    """

    plan: Callable[[], Sequence[Unit]]
    prepare: Callable[[], None]
    run: Callable[[Unit], Evidence]
    publish: Callable[[Sequence[Outcome]], None]
    memory: Callable[[], int]
