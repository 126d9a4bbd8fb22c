"""Where a ledger keeps its lines: one file on a disk, numbered parts in a bucket."""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sscl_geo.io.location import AnyLocation, Location, location

SYNC_SECONDS = 0.2
PART_SECONDS = 1.0
PART_LINES = 100
READERS = 32


class FileJournal:
    """A file that grows line by line.

    A line survives the end of its writer at once, and a loss of power within 0.2 s of the next
    line or flush; a unit whose line is lost is done again, to the same bytes. A line that a killed
    writer left unfinished at the end is ignored, and cut off before the next one. Only one process
    at a time may append.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._synced = -math.inf
        self._is_whole = False

    def __str__(self) -> str:
        return str(self._path)

    def lines(self) -> list[bytes]:
        """Return all finished lines."""
        content = self._path.read_bytes() if self._path.exists() else b""
        return content[: content.rfind(b"\n") + 1].splitlines()

    def append(self, line: bytes) -> None:
        """Write a line."""
        with self._path.open("ab", buffering=0) as file:
            if not self._is_whole:
                self._cut_torn_line()
            file.write(line + b"\n")
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(file.fileno())
                self._synced = time.monotonic()

    def flush(self) -> None:
        """Block until all lines are on the disk."""
        if self._is_whole:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def _cut_torn_line(self) -> None:
        content = self._path.read_bytes()
        # Only what is torn: lines of another command may have come since.
        if content and not content.endswith(b"\n"):
            os.truncate(self._path, content.rfind(b"\n") + 1)
        self._is_whole = True


class PartsJournal:
    """Numbered objects of lines, for buckets, whose objects do not grow.

    A killed writer loses the lines, at most 100, that came within a second of its last part;
    their units are done again, to the same bytes. Writers at the same time overwrite nothing:
    each part is written only if its number is free.

    Args:
        folder: What holds the parts.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._pending: list[bytes] = []
        self._written = -math.inf
        self._next = 0

    def __str__(self) -> str:
        return str(self._folder)

    def lines(self) -> list[bytes]:
        """Return all lines, by part."""
        names = self._folder.names()
        self._next = len(names)
        with ThreadPoolExecutor(READERS) as readers:
            parts = readers.map(lambda name: (self._folder / name).read_bytes(), names)
            return [line for part in parts for line in part.splitlines()]

    def append(self, line: bytes) -> None:
        """Keep a line, and write a part if it is time to."""
        self._pending.append(line)
        is_due = time.monotonic() - self._written >= PART_SECONDS
        if is_due or len(self._pending) >= PART_LINES:
            self.flush()

    def flush(self) -> None:
        """Write all lines that are kept."""
        if not self._pending:
            return
        part = b"".join(line + b"\n" for line in self._pending)
        while not (self._folder / f"{self._next:08}.jsonl").create(part):
            self._next += 1
        self._next += 1
        self._written = time.monotonic()
        self._pending.clear()


def journal(store: AnyLocation) -> FileJournal | PartsJournal:
    """Return where the ledger of a store keeps its lines."""
    place = location(store)
    if place.is_local:
        return FileJournal(Path(place.key) / "ledger.jsonl")
    return PartsJournal(place / "ledger")
