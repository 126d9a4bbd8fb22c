"""An append-only record of what became of each unit of a plan."""

import json
import os
from pathlib import Path

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import parse
from sscl_geo.runtime.work import Outcome

LEDGER = "ledger.jsonl"


class Ledger:
    """One JSON object a line; the last line of a unit counts.

    A line that a killed writer left unfinished at the end is cut off when the ledger is opened.
    Only one process at a time may append.

    Args:
        folder: The store that the ledger belongs to.

    Raises:
        InvalidInputError: A line before the last is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER
        self._cut_torn_line()
        self._outcomes = dict(self._read())

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The latest outcome of each unit, by key."""
        return dict(self._outcomes)

    @property
    def finished(self) -> frozenset[str]:
        """Keys of the units that need no work: done, or empty with evidence."""
        return frozenset(key for key, o in self._outcomes.items() if o.status != "failed")

    def append(self, outcome: Outcome) -> None:
        """Record an outcome; it is on disk when this returns."""
        with self._path.open("ab") as file:
            file.write(outcome.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._outcomes[outcome.key] = outcome

    def _cut_torn_line(self) -> None:
        if not self._path.exists():
            return
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)

    def _read(self) -> list[tuple[str, Outcome]]:
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        return [self._parsed(number, line) for number, line in enumerate(lines, 1)]

    def _parsed(self, number: int, line: bytes) -> tuple[str, Outcome]:
        try:
            fields = json.loads(line)
        except ValueError:
            raise InvalidInputError(
                f"{self._path} line {number} is damaged; delete that line, and its unit "
                "will be done again"
            ) from None
        outcome = parse(Outcome, fields, f"{self._path} line {number}")
        return outcome.key, outcome
