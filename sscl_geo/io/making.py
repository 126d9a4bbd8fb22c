"""How a store comes to stand at a place: whole, once, and made by one command."""

from collections.abc import Iterator
from contextlib import contextmanager

from sscl_geo.io.bucket import Bucket
from sscl_geo.io.claim import claimed
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.renaming import renamed


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
    maker = claimed(keeper, place, plan) if isinstance(keeper, Bucket) else renamed(place, plan)
    with maker as pending:
        yield pending
