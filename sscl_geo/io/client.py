"""Connections to object storage: how often a request is tried, and how its failure is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from sscl_geo.errors import StoreError, brief

RETRIES: Final = 10
RETRY_TIME: Final = timedelta(minutes=3)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=0.1), timedelta(seconds=15)
"""After a lost connection or an answer of 5xx: up to 10 more requests within 3 minutes, after
waits of 0.1 s, 0.2 s, and so on up to 15 s, with jitter."""

CONNECT_TIME: Final = timedelta(seconds=10)
REQUEST_TIME: Final = timedelta(minutes=2)
"""Of one request: 5 MB when writing; when reading, from an inner chunk to a whole shard."""


@lru_cache(maxsize=32)
def client(url: str) -> ObjectStore:
    """Return a connection to a bucket or a prefix, with what the environment says of it."""
    return from_url(
        url,
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": RETRY_TIME,
            "backoff": {"init_backoff": FIRST_WAIT, "max_backoff": LONGEST_WAIT, "base": 2},
        },
        client_options={
            "connect_timeout": CONNECT_TIME,
            "timeout": REQUEST_TIME,
            # Options given here replace those of the environment.
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"},
        },
    )


@contextmanager
def reached(place: str) -> Iterator[None]:
    """Tell in one line why a store could not be reached.

    Raises:
        StoreError: Access is denied, or a request failed to the end.
    """
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError):
        raise StoreError(
            f"{place}: access is denied; check the credentials in the environment"
        ) from None
    except BaseError as error:
        cause = brief(error)
        raise StoreError(
            f"{place} cannot be reached: {cause}; check the address, the credentials in the "
            "environment, and the network"
        ) from None


@contextmanager
def bucket_needed(url: str) -> Iterator[None]:
    """Tell in one line that a write met no bucket.

    Raises:
        StoreError: There is no such bucket.
    """
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{url}: there is no such bucket; create it first") from None
