"""Stores in buckets, which rename nothing: a command claims the place and writes the plan last.

The claim, `claim.json`, is written only if it is absent. Then everything is written where it will
stay; last, and only if the claim is still the command's own and there is no plan, `plan.json`,
without which no reader sees a store. The claim of a killed command is taken over by a command of
the same arguments, which writes the same bytes again, and refused to any other. A command that
fails gives its claim up, and any command may take that over.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sscl_geo.frozen import Frozen, parse, read_json
from sscl_geo.io.bucket import Bucket
from sscl_geo.io.location import Location
from sscl_geo.io.plan import CLAIM, PLAN, Plan, made_by_another


class Claim(Frozen):
    """Who is making a store in a bucket.

    Attributes:
        plan: What it will be.
        owner: One command, or nothing if it gave up.
    """

    plan: Plan
    owner: str

    @property
    def text(self) -> bytes:
        """The content of its object."""
        return self.model_dump_json(indent=1).encode()


@contextmanager
def claimed(bucket: Bucket, place: Location, plan: Plan) -> Iterator[Location]:
    """Yield a place to write a store at; when the block ends it is one.

    Raises:
        PlanConflictError: Another command made, or is making, a store there.
    """
    claim, mine = place / CLAIM, Claim(plan=plan, owner=uuid.uuid4().hex).text
    _take(bucket, place, plan, mine)
    try:
        yield place
        _finish(bucket, place, plan, mine)
    except BaseException:
        bucket.swap(claim.key, mine, Claim(plan=plan, owner="").text)
        raise
    claim.delete()


def _finish(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> None:
    is_mine = bucket.swap((place / CLAIM).key, mine, mine)
    if not is_mine or not (place / PLAN).create(plan.text):
        raise made_by_another(place)


def _take(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> None:
    claim = place / CLAIM
    given_up = not claim.create(mine) and _take_over(bucket, place, plan, mine)
    if (place / PLAN).exists():
        claim.delete()
        raise made_by_another(place)
    if given_up:
        bucket.remove([(place / name).key for name in place.names() if name != CLAIM])


def _take_over(bucket: Bucket, place: Location, plan: Plan, mine: bytes) -> bool:
    """Put a claim in the place of another; return whether that one had been given up."""
    claim = place / CLAIM
    try:
        found = claim.read_bytes()
    except FileNotFoundError:
        raise made_by_another(place) from None
    other = parse(Claim, read_json(found), str(claim))
    if other.owner:
        other.plan.check(plan, f"{place} is unfinished and")
    if not bucket.swap(claim.key, found, mine):
        raise made_by_another(place)
    return not other.owner
