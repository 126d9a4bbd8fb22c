"""Which labels taught a model, so that it is not judged, or calibrated, by what it remembers."""

from collections.abc import Iterable, Iterator, Sequence

from sscl_geo.io.chips import Chips
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import Imagery
from sscl_geo.io.location import AnyLocation


def taught(imagery: Iterable[Imagery], labels: Sequence[AnyLocation]) -> Iterator[str]:
    """Yield what tells labels apart: each place of a store of chips, or a whole store of labels.

    Chips of one place, at two dates or side by side, have the same labels or much alike ones.
    """
    for one in imagery:
        if isinstance(one, Chips):
            yield from (f"{one.store.plan.digest}/{chip.place}" for chip in one.chips)
    for path in labels:
        yield str(Classes.open(path, "labels").store.plan.digest)


def taught_of(training: object) -> set[str]:
    """Return what `taught` said of all labels of a bundle and of its members.

    Args:
        training: The field `training` of the bundle's card.
    """
    if isinstance(training, list):
        return {one for member in training for one in taught_of(member)}
    if not isinstance(training, dict):
        return set()
    own = training.get("taught")
    found = {str(one) for one in own} if isinstance(own, list) else set()
    return found | taught_of([*training.values()])
