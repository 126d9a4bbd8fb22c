"""One unit after the other, in this process."""

import os
from collections.abc import Callable, Iterator, Sequence

from sscl_geo.runtime.work import Evidence, Machines, Outcome, UnitT, attempt


def execute(
    task: Callable[[UnitT], Evidence],
    units: Sequence[UnitT],
    machines: Machines,  # noqa: ARG001 - every executor takes it
) -> Iterator[Outcome]:
    """Yield the outcome of every unit, in order."""
    for unit in units:
        yield attempt(task, unit)


def worker_bytes(machines: Machines) -> int:  # noqa: ARG001 - every executor takes it
    """Return the memory that one unit may use: this machine's."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
