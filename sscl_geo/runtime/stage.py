"""The driver: any tiled stage on any executor, resumable, without a silent hole."""

from collections.abc import Sequence
from typing import NamedTuple

from sscl_geo import plugins
from sscl_geo.errors import HolesError, InvalidInputError
from sscl_geo.runtime.ledger import Journal, Ledger
from sscl_geo.runtime.progress import shown
from sscl_geo.runtime.work import EXECUTORS, Machines, Outcome, Stage

SHOWN_HOLES = 20
GIB = 2**30


class Summary(NamedTuple):
    """How many units of a plan are done, empty, and were done in this run."""

    done: int
    empty: int
    now: int


def execute(stage: Stage, journal: Journal, machines: Machines, label: str) -> Summary:
    """Do every unit of a stage that its ledger does not show as finished.

    Args:
        stage: The stage.
        journal: What keeps the ledger of its store.
        machines: Where to run.
        label: What the progress bar says.

    Raises:
        InvalidInputError: A unit needs more memory than a worker has.
        HolesError: Units failed; the message is a table of them and their causes.
    """
    executor = plugins.find(EXECUTORS, machines.executor)
    units = stage.plan()
    ledger = Ledger(journal)
    finished = ledger.finished
    pending = [unit for unit in units if unit.key not in finished]
    if pending:
        _check_memory(stage.memory(), executor.worker_bytes(machines), label)
    stage.prepare()
    try:
        for outcome in shown(executor.execute(stage.run, pending, machines), len(pending), label):
            ledger.append(outcome)
    finally:
        ledger.flush()
    known = ledger.outcomes
    outcomes = [known[unit.key] for unit in units]
    holes = [outcome for outcome in outcomes if outcome.status == "failed"]
    if holes:
        raise HolesError(holes_table(holes, len(units)))
    stage.publish(outcomes)
    done = sum(outcome.status == "done" for outcome in outcomes)
    return Summary(done, len(units) - done, len(pending))


def _check_memory(needed: int, given: int, label: str) -> None:
    if needed > given:
        raise InvalidInputError(
            f"{label}: one unit needs up to {needed / GIB:.1f} GiB and a worker has "
            f"{given / GIB:.1f} GiB; take fewer --workers, larger machines, or a smaller "
            "--tile-px, where the command has one"
        )


def holes_table(holes: Sequence[Outcome], planned: int) -> str:
    """Return failed units and their causes as text, a line each."""
    lines = [f"{len(holes)} of {planned} units failed; the same command tries only these again:"]
    lines += [f"  {hole.key}  {hole.cause}" for hole in holes[:SHOWN_HOLES]]
    if len(holes) > SHOWN_HOLES:
        lines.append(f"  and {len(holes) - SHOWN_HOLES} more, all in the store's ledger")
    return "\n".join(lines)
