"""Progress on a terminal: of units with rate and time left, of trainings line by line."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as Column
from rich.text import Text

T = TypeVar("T")

LOOK_SECONDS = 1.0


class _Rate(Column):
    """Units an hour, or a second where they are quick."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("- /s")
        return Text(f"{speed:.1f} /s" if speed >= 1 else f"{3600 * speed:.0f} /h")


def shown(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield the items, with a bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=label)


@contextmanager
def followed(path: Path) -> Iterator[None]:
    """Write every line that a file gets, from any machine, to stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    is_over = Event()
    begin = path.stat().st_size if path.exists() else 0
    thread = Thread(target=_follow, args=(path, begin, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _follow(path: Path, place: int, is_over: Event) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(LOOK_SECONDS)
        with suppress(OSError):
            content = path.read_bytes()[place:]
            whole = content[: content.rfind(b"\n") + 1]
            place += len(whole)
            sys.stderr.write(whole.decode())
            sys.stderr.flush()
