"""Objects of a bucket, through obstore."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    PreconditionError,
)
from zarr.abc.store import Store as ZarrStore
from zarr.storage import ObjectStore

from sscl_geo.io.client import bucket_needed, client, reached

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
                obstore.head(client(self._url), key)
            except FileNotFoundError:
                return bool(next(iter(obstore.list(client(self._url), key, chunk_size=1)), []))
            return True

    def read(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: There is none.
        """
        with reached(self._url):
            return obstore.get(client(self._url), key).bytes().to_bytes()

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whether there is one or not."""
        with reached(self._url), bucket_needed(self._url):
            obstore.put(client(self._url), key, content)

    @contextmanager
    def new_file(self, key: str) -> Iterator[Path]:
        """Yield where to write a file on this machine; when the block ends it is an object."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(key).name
            yield path
            with reached(self._url), bucket_needed(self._url):
                obstore.put(client(self._url), key, path)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none; return whether it now holds this content.

        So an answer that was lost does not count as a refusal.
        """
        with reached(self._url), bucket_needed(self._url):
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
                found = obstore.get(client(self._url), key)
                content = found.bytes().to_bytes()
                if content == old:
                    obstore.put(client(self._url), key, new, mode=_version(found.meta))
                    content = new
            except PreconditionError:
                content = self.read(key)
            except FileNotFoundError:
                return False
            return content == new

    def names(self, key: str) -> list[str]:
        """Return the names of all objects below a key, in order."""
        with reached(self._url):
            pages = obstore.list(client(self._url), key)
            return sorted(item["path"].removeprefix(f"{key}/") for page in pages for item in page)

    def delete(self, key: str) -> None:
        """Delete an object and all below it; nothing happens if there is none."""
        self.remove([*(f"{key}/{name}" for name in self.names(key)), key])

    def remove(self, keys: list[str]) -> None:
        """Delete objects; nothing happens where one is absent."""
        with reached(self._url), suppress(FileNotFoundError):
            obstore.delete(client(self._url), keys)

    def zarr_store(self, key: str) -> ZarrStore:
        """Return what Zarr needs to read and write below a key."""
        with reached(self._url):
            return ObjectStore(client(f"{self._url}/{quote(key)}"))

    def _created(self, key: str, content: bytes) -> bool:
        try:
            obstore.put(client(self._url), key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return self.read(key) == content
        return True


def _version(meta: "obstore.ObjectMeta") -> "obstore.UpdateVersion":
    version: obstore.UpdateVersion = {"e_tag": meta["e_tag"]}
    if meta["version"] is not None:
        version["version"] = meta["version"]
    return version
