"""What became of a store's units, and whether its bytes are still those that were written."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from sscl_geo.errors import HolesError, InvalidInputError, ReadError
from sscl_geo.geo.cube import CubeSpec, Place
from sscl_geo.geo.grid import Grid, Tile, Window
from sscl_geo.io.cubes import GridsOf
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import layer_window
from sscl_geo.io.plan import articled, read_plan
from sscl_geo.io.store import Store, checksum
from sscl_geo.io.tables import TILES
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import holes_table
from sscl_geo.runtime.work import Outcome

TILED = ("cube", "labels", "map", "change")
DAMAGED = "the bytes in the store are no longer those that were written"


class Status(NamedTuple):
    """How far a store is.

    Attributes:
        kind: What the store is.
        counts: Number of units that are `done`, `empty`, `failed` and `waiting`.
        causes: Number of failed units by cause, the most frequent first.
        seconds: Working time of all units that ended.
    """

    kind: str
    counts: dict[str, int]
    causes: list[tuple[str, int]]
    seconds: float


class _Written(NamedTuple):
    array: str
    lead: tuple[int, ...]
    window: Window
    checksum: str


def status(path: AnyLocation) -> Status:
    """Return how far a store of tiles is; nothing is changed.

    Raises:
        InvalidInputError: There is none at the path.
    """
    store = _tiled(path)
    outcomes = Ledger(journal(path)).outcomes.values()
    counts = Counter(outcome.status for outcome in outcomes)
    told = {name: counts[name] for name in ("done", "empty", "failed")}
    causes = Counter(outcome.cause for outcome in outcomes if outcome.status == "failed")
    return Status(
        kind=store.plan.kind,
        counts={**told, "waiting": _planned(store) - sum(told.values())},
        causes=causes.most_common(),
        seconds=sum(outcome.run.seconds for outcome in outcomes if outcome.run),
    )


def verify(path: AnyLocation) -> int:
    """Read everything that was written and compare checksums; return the number of arrays read.

    Units that differ are recorded as failed, so that `repair`, or the command that made the store,
    does them again. Coarser levels of a map that no tile holds whole, and files beside it, are not
    looked at; they are made of its tiles.

    Raises:
        InvalidInputError: There is no store of tiles at the path.
        HolesError: Units differ, have failed or are not done; the message is a table of them.
    """
    store, ledger = _tiled(path), Ledger(journal(path))
    checked, damaged = 0, []
    grids, starts = {grid.zone: grid for grid in _grids(store)}, _starts(store)
    for outcome in ledger.outcomes.values():
        written = list(_written(grids, starts, outcome))
        checked += len(written)
        if not all(_is_whole(store, one) for one in written):
            damaged.append(outcome.replace(status="failed", cause=DAMAGED))
    for outcome in damaged:
        ledger.append(outcome)
    ledger.flush()
    failed = [outcome for outcome in ledger.outcomes.values() if outcome.status == "failed"]
    if failed:
        # Without its table of tiles nobody opens the store as whole.
        (store.path / TILES).delete()
        raise HolesError(holes_table(failed, _planned(store)))
    waiting = _planned(store) - len(ledger.outcomes)
    if waiting:
        raise HolesError(
            f"{path}: {waiting} of {_planned(store)} units are not done; what is done is whole; "
            "run the command that makes it again, to its end"
        )
    return checked


def _tiled(path: AnyLocation) -> Store:
    plan = read_plan(path)
    if plan is None or plan.kind not in TILED:
        found = "not found" if plan is None else f"is {articled(plan.kind)}"
        raise InvalidInputError(
            f"{path}: {found}; give the path of {', '.join(map(articled, TILED))}"
        )
    return Store(path, plan)


def _grids(store: Store) -> tuple[Grid, ...]:
    if store.plan.kind == "cube":
        return store.kept("spec", CubeSpec.model_validate).grids
    return store.kept("grids", GridsOf.validate_python)


def _planned(store: Store) -> int:
    """Return how many units a store is made of."""
    return sum(len(grid.tiles) for grid in _grids(store)) * max(len(_starts(store)), 1)


def _starts(store: Store) -> dict[str, int]:
    """Return the index of each period by its first day; nothing for a store without time."""
    if store.plan.kind != "cube":
        return {}
    periods = store.kept("spec", CubeSpec.model_validate).periods
    return {period.start.isoformat(): index for index, period in enumerate(periods)}


def _written(
    grids: dict[str, Grid], starts: dict[str, int], outcome: Outcome
) -> Iterator[_Written]:
    checksums = outcome.evidence.get("checksums")
    if outcome.status == "failed" or not isinstance(checksums, dict):
        return
    zone, row, column, *start = outcome.key.split("/")
    window = grids[zone].window(Tile(zone=zone, row=int(row), column=int(column)))
    lead = tuple(starts[day] for day in start)
    for array, told in checksums.items():
        yield _Written(f"{zone}/{array}", lead, _pixels(array, lead, window), str(told))


def _pixels(array: str, lead: tuple[int, ...], window: Window) -> Window:
    """Return a tile's pixels in an array of a cube, of labels, or of a map."""
    if lead:
        return window.at(Place.of(array).gsd)
    return layer_window(array, window) if "/" in array else window


def _is_whole(store: Store, written: _Written) -> bool:
    try:
        found = store.read(written.array, written.lead, written.window)
    except (InvalidInputError, ReadError):
        return False
    return checksum(found) == written.checksum
