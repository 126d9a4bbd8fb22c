"""An append-only record of what became of each unit of a plan."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import parse, read_json
from sscl_geo.runtime.work import Outcome


@runtime_checkable
class Journal(Protocol):
    """What keeps lines; its text says where."""

    def lines(self) -> Sequence[bytes]:
        """Return all lines in the order of their writing."""

    def append(self, line: bytes) -> None:
        """Take a line; a killed writer may lose the last few."""

    def flush(self) -> None:
        """Block until no line can be lost."""


class Ledger:
    """One JSON object a line; the last line of a unit counts.

    Args:
        journal: Where the lines are kept.

    Raises:
        InvalidInputError: A line is damaged.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        lines = enumerate(journal.lines(), 1)
        self._outcomes = dict(self._parsed(number, line) for number, line in lines)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The latest outcome of each unit, by key."""
        return dict(self._outcomes)

    @property
    def finished(self) -> frozenset[str]:
        """Keys of the units that need no work: done, or empty with evidence."""
        return frozenset(key for key, o in self._outcomes.items() if o.status != "failed")

    def append(self, outcome: Outcome) -> None:
        """Record an outcome; it is safe after the next `flush`."""
        self._journal.append(outcome.model_dump_json().encode())
        self._outcomes[outcome.key] = outcome

    def flush(self) -> None:
        """Block until no outcome can be lost."""
        self._journal.flush()

    def _parsed(self, number: int, line: bytes) -> tuple[str, Outcome]:
        try:
            fields = read_json(line)
        except ValueError:
            raise InvalidInputError(
                f"{self._journal} line {number} is damaged; delete that line, and its unit "
                "will be done again"
            ) from None
        outcome = parse(Outcome, fields, f"{self._journal} line {number}")
        return outcome.key, outcome
