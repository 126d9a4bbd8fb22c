"""How a store comes to stand at a place: whole, once, and made by one command.

On a disk a command writes into a folder of its own beside the place and renames it last; of two
commands the first to rename wins.

A bucket renames nothing. There a command claims the place (`claim.json`, written only if absent),
writes everything where it will stay, checks that the claim is still its own, and writes
`plan.json` last and only if absent; without it no reader sees a store. A claim of a killed command
is taken over by a command of the same arguments, which writes the same bytes again, and refused
to any other. A command that fails gives its claim up, and any command may take that over.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.frozen import Frozen
from sscl_geo.io.bucket import Bucket
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.plan import CLAIM, PLAN, Plan, read_plan


def begin(place: AnyLocation, plan: Plan) -> bool:
    """Claim a folder for a plan; return whether the same plan had begun there before.

    Raises:
        InvalidInputError: Something else stands there.
        PlanConflictError: Another plan made it.
    """
    existing = read_plan(place)
    if existing is not None:
        existing.check(plan, place)
        return True
    with making(location(place), plan):
        return False


@contextmanager
def making(place: Location, plan: Plan) -> Iterator[Location]:
    """Yield where to write a store; when the block ends it stands at `place`, whole.

    Raises:
        InvalidInputError: The disk cannot hold a store there.
        PlanConflictError: Another command made, or is making, a store there.
    """
    keeper = place.keeper
    maker = _claimed(keeper, place, plan) if isinstance(keeper, Bucket) else _renamed(place, plan)
    with maker as pending:
        yield pending


@contextmanager
def _renamed(place: Location, plan: Plan) -> Iterator[Location]:
    path = Path(place.key)
    with _own_folder(path) as pending:
        yield location(pending)
        (location(pending) / PLAN).put_whole(_text(plan))
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
        raise _made_by_another(path) from None


class Claim(Frozen):
    """Who is making a store in a bucket.

    Attributes:
        plan: What it will be.
        owner: One command, or nothing if it gave up.
    """

    plan: Plan
    owner: str


@contextmanager
def _claimed(bucket: Bucket, place: Location, plan: Plan) -> Iterator[Location]:
    claim, mine = place / CLAIM, _text(Claim(plan=plan, owner=uuid.uuid4().hex))
    _take(bucket, place, plan, mine)
    try:
        yield place
        _finish(bucket, place, plan, mine)
    except BaseException:
        bucket.swap(claim.key, mine, _text(Claim(plan=plan, owner="")))
        raise
    claim.delete()


def _finish(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> None:
    is_mine = bucket.swap((place / CLAIM).key, mine, mine)
    if not is_mine or not (place / PLAN).create(_text(plan)):
        raise _made_by_another(place)


def _take(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> None:
    claim = place / CLAIM
    given_up = not claim.create(mine) and _take_over(bucket, place, plan, mine)
    if (place / PLAN).exists():
        claim.delete()
        raise _made_by_another(place)
    if given_up:
        bucket.remove([(place / name).key for name in place.names() if name != CLAIM])


def _take_over(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> bool:
    """Put a claim in the place of another; return whether that one had been given up."""
    claim = place / CLAIM
    try:
        found = claim.read_bytes()
    except FileNotFoundError:
        raise _made_by_another(place) from None
    other = Claim.model_validate_json(found)
    if other.owner:
        other.plan.check(plan, f"{place} is unfinished and")
    if not bucket.swap(claim.key, found, mine):
        raise _made_by_another(place)
    return not other.owner


def _text(value: Plan | Claim) -> bytes:
    return value.model_dump_json(indent=1).encode()


def _made_by_another(place: AnyLocation) -> PlanConflictError:
    return PlanConflictError(
        f"{place}: another command is making this store; let it end, then run this one again"
    )
