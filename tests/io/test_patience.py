import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.io.patience import AttemptError, Kind, Patience

HASTY = Patience(attempts=4, first_pause=0.001)


def outcomes(*kinds: Kind) -> tuple[list[str], AttemptError | None]:
    """Run an action that fails in these ways, one after the other, and then succeeds."""
    left, done = list(kinds), []

    def act() -> str:
        done.append("tried")
        if left:
            raise AttemptError("no", left.pop(0))
        return "yes"

    try:
        HASTY.persist(act, np.random.default_rng(0))
    except AttemptError as error:
        return done, error
    return done, None


@pytest.mark.parametrize(
    ("kinds", "attempts", "ends_well"),
    [
        ((), 1, True),
        (("transient",) * 3, 4, True),
        (("transient",) * 4, 4, False),
        (("permanent",), 1, False),
        (("unauthorised",), 2, True),
        (("unauthorised", "unauthorised"), 2, False),
        (("transient", "unauthorised", "transient"), 4, True),
    ],
)
def test_failures_that_may_pass_are_tried_again(
    kinds: tuple[Kind, ...], attempts: int, ends_well: bool
) -> None:
    done, error = outcomes(*kinds)
    assert len(done) == attempts
    assert (error is None) == ends_well
    assert error is None or error.attempts == attempts


@given(st.integers(1, 40), st.integers(0, 9))
def test_pauses_are_drawn_below_a_bound_that_doubles_up_to_the_longest(
    attempt: int, seed: int
) -> None:
    patience = Patience(first_pause=0.5, longest_pause=8)
    pause = patience.pause(attempt, np.random.default_rng(seed))
    assert 0 <= pause <= min(0.5 * 2 ** (attempt - 1), 8)
    assert pause == patience.pause(attempt, np.random.default_rng(seed))
