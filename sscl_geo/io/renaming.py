"""Stores on disks: a command writes in a folder of its own and renames it last.

Of two commands the first to rename wins.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.location import Location, location
from sscl_geo.io.plan import PLAN, Plan, made_by_another


@contextmanager
def renamed(place: Location, plan: Plan) -> Iterator[Location]:
    """Yield a new folder beside a place, which stands there when the block ends.

    Raises:
        InvalidInputError: The disk cannot hold a folder there.
        PlanConflictError: Another command was first.
    """
    path = Path(place.key)
    with _own_folder(path) as pending:
        yield location(pending)
        (location(pending) / PLAN).put_whole(plan.text)
        _rename(pending, path)


@contextmanager
def _own_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside a path, locked while this process lives; delete dead ones."""
    for dead in path.parent.glob(f".{path.name}.*.pending"):
        _delete_unlocked(dead)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        new.mkdir(parents=True)
    except OSError as error:
        raise InvalidInputError(
            f"{path.parent} cannot hold a store: {error.strerror}; choose another --out"
        ) from None
    lock = _lock(new)
    pending = new.rename(new.with_suffix(".pending"))
    try:
        yield pending
    finally:
        shutil.rmtree(pending, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that locks a folder; None if another has it, or the disk has no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _delete_unlocked(folder: Path) -> None:
    with suppress(FileNotFoundError):
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _rename(pending: Path, path: Path) -> None:
    try:
        pending.rename(path)
    except OSError:
        if not path.exists():
            raise
        raise made_by_another(path) from None
