"""One unit after the other, in this process."""

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
