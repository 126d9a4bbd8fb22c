"""Trying again: which failures pass, how long to wait for it, and when to give up."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np

from sscl_geo.frozen import Frozen

Kind = Literal["permanent", "unauthorised", "transient"]
Result = TypeVar("Result")


class AttemptError(Exception):
    """One attempt failed.

    Attributes:
        cause: In words that hold no address.
        kind: `permanent`: will fail again; `unauthorised`: may pass with a newer signature;
            `transient`: may pass.
        retry_after: Seconds that the server asked to wait.
        attempts: How many there were, this one included.
    """

    def __init__(self, cause: str, kind: Kind, retry_after: float = 0.0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.kind = kind
        self.retry_after = retry_after
        self.attempts = 1


class Patience(Frozen):
    """How long and how often to try.

    Attributes:
        attempts: Most attempts of one request, and of one read whose bytes are damaged.
        seconds: No attempt of one request begins later than this after the first.
        first_pause: Longest pause after the first attempt, in seconds; it doubles with each.
        longest_pause: Longest pause of all, in seconds, unless the server asks for more.
        silence: Seconds without a byte after which an attempt has failed.
        slowest: Bytes per second that a body must bring on average, after `silence`.
    """

    attempts: int = 8
    seconds: float = 240.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    silence: float = 60.0
    slowest: float = 100_000.0

    def pause(self, attempt: int, random: np.random.Generator) -> float:
        """Return the seconds to wait after attempt 1, 2, ….

        Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
        Architecture Blog, 2015).
        """
        longest = min(self.longest_pause, self.first_pause * 2 ** (attempt - 1))
        return float(random.uniform(0, longest))

    def persist(self, act: Callable[[], Result], random: np.random.Generator) -> Result:
        """Return what an action returns, trying again while its failure may pass.

        An `unauthorised` failure is tried once more, at once.

        Args:
            act: The action; raises `AttemptError`.
            random: Of the pauses.

        Raises:
            AttemptError: The last failure, with the number of attempts.
        """
        start, attempt, is_renewed = time.monotonic(), 1, False
        while True:
            try:
                return act()
            except AttemptError as error:
                error.attempts = attempt
                is_refused = error.kind == "unauthorised" and not is_renewed
                pause = 0.0 if is_refused else error.retry_after + self.pause(attempt, random)
                may_pass = is_refused or error.kind == "transient"
                if not (may_pass and self._allows(attempt, start, pause)):
                    raise
            is_renewed |= is_refused
            time.sleep(pause)
            attempt += 1

    def _allows(self, attempt: int, start: float, pause: float) -> bool:
        spent = time.monotonic() - start
        return attempt < self.attempts and spent + pause < self.seconds
