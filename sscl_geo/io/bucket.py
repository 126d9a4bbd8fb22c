"""Objects of a bucket, through obstore."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore as Client
from obstore.store import from_url
from zarr.abc.store import Store as ZarrStore
from zarr.storage import ObjectStore

from sscl_geo.errors import StoreError

RETRIES: Final = 10
RETRY_TIME: Final = timedelta(minutes=3)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=0.1), timedelta(seconds=15)
"""After a lost connection or an answer of 5xx: up to 10 more requests within 3 minutes, after
waits of 0.1 s, 0.2 s, and so on up to 15 s, with jitter."""

CONNECT_TIME: Final = timedelta(seconds=10)
REQUEST_TIME: Final = timedelta(minutes=2)
"""Of one request: 5 MB when writing; when reading, from an inner chunk to a whole shard."""

CREATE_WAITS: Final = (0.2, 1.0)
"""Seconds before the second and third try of a conditional write whose connection was lost."""


class Bucket:
    """What is kept in a bucket; every object is seen whole or not at all.

    Credentials and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …)
    or from the machine's role.

    Args:
        url: The bucket, such as `s3://name`.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def exists(self, key: str) -> bool:
        """Return whether an object stands there, or below it."""
        with reached(self._url):
            try:
                obstore.head(_client(self._url), key)
            except FileNotFoundError:
                return bool(next(iter(obstore.list(_client(self._url), key, chunk_size=1)), []))
            return True

    def read(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: There is none.
        """
        with reached(self._url):
            return obstore.get(_client(self._url), key).bytes().to_bytes()

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whether there is one or not."""
        with reached(self._url), _bucket_needed(self._url):
            obstore.put(_client(self._url), key, content)

    @contextmanager
    def new_file(self, key: str) -> Iterator[Path]:
        """Yield where to write a file on this machine; when the block ends it is an object."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(key).name
            yield path
            with reached(self._url), _bucket_needed(self._url):
                obstore.put(_client(self._url), key, path)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none; return whether it now holds this content.

        So an answer that was lost does not count as a refusal.
        """
        with reached(self._url), _bucket_needed(self._url):
            for wait in CREATE_WAITS:
                try:
                    return self._created(key, content)
                except GenericError:
                    # The client does not repeat a request with a condition that may have come.
                    time.sleep(wait)
            return self._created(key, content)

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """Replace an object's content if it is still `old`; return whether it is now `new`."""
        with reached(self._url):
            try:
                found = obstore.get(_client(self._url), key)
                content = found.bytes().to_bytes()
                if content == old:
                    obstore.put(_client(self._url), key, new, mode=_version(found.meta))
                    content = new
            except PreconditionError:
                content = self.read(key)
            except FileNotFoundError:
                return False
            return content == new

    def names(self, key: str) -> list[str]:
        """Return the names of all objects below a key, in order."""
        with reached(self._url):
            pages = obstore.list(_client(self._url), key)
            return sorted(item["path"].removeprefix(f"{key}/") for page in pages for item in page)

    def delete(self, key: str) -> None:
        """Delete an object and all below it; nothing happens if there is none."""
        self.remove([*(f"{key}/{name}" for name in self.names(key)), key])

    def remove(self, keys: list[str]) -> None:
        """Delete objects; nothing happens where one is absent."""
        with reached(self._url), suppress(FileNotFoundError):
            obstore.delete(_client(self._url), keys)

    def zarr_store(self, key: str) -> ZarrStore:
        """Return what Zarr needs to read and write below a key."""
        with reached(self._url):
            return ObjectStore(_client(f"{self._url}/{quote(key)}"))

    def _created(self, key: str, content: bytes) -> bool:
        try:
            obstore.put(_client(self._url), key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return self.read(key) == content
        return True


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
        cause = str(error).splitlines()[0][:300]
        raise StoreError(
            f"{place} cannot be reached: {cause}; check the address, the credentials in the "
            "environment, and the network"
        ) from None


@contextmanager
def _bucket_needed(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{url}: there is no such bucket; create it first") from None


def _version(meta: "obstore.ObjectMeta") -> "obstore.UpdateVersion":
    version: obstore.UpdateVersion = {"e_tag": meta["e_tag"]}
    if meta["version"] is not None:
        version["version"] = meta["version"]
    return version


@lru_cache(maxsize=32)
def _client(url: str) -> Client:
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
