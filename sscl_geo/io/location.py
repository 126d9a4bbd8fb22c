"""Where stores stand: folders on disks, and prefixes of buckets."""

import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic_core import CoreSchema, core_schema
from zarr.abc.store import Store as ZarrStore

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.bucket import Bucket
from sscl_geo.io.disk import Disk

SCHEMES = ("s3", "gs")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")
_KEY = re.compile(r"(?!\.\.?(?:/|$))[\w.=+-]+(?:/(?!\.\.?(?:/|$))[\w.=+-]+)*")


@dataclass(frozen=True)
class Location:
    """A path on a disk, or a key in a bucket; make it with `location`.

    Its text reads back as the same location and holds no credentials.

    Attributes:
        root: The bucket, such as `s3://name`; empty on a disk.
        key: The path on the disk, or in the bucket.
    """

    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.root else self.key

    def __truediv__(self, name: str) -> "Location":
        return replace(self, key=str(self._pure / name))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:  # noqa: ANN401 - pydantic's protocol
        return core_schema.no_info_plain_validator_function(
            location, serialization=core_schema.to_string_ser_schema()
        )

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk."""
        return not self.root

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The end of its name, from the last dot."""
        return self._pure.suffix

    @property
    def parent(self) -> "Location":
        """What holds it."""
        return replace(self, key=str(self._pure.parent))

    @property
    def keeper(self) -> Bucket | Disk:
        """What reads and writes there."""
        return Bucket(self.root) if self.root else Disk()

    def with_name(self, name: str) -> "Location":
        """Return its neighbour of another name."""
        return replace(self, key=str(self._pure.with_name(name)))

    def resolve(self) -> "Location":
        """Return it in a form that other processes understand: absolute, if on a disk."""
        return self if self.root else replace(self, key=str(Path(self.key).resolve()))

    def exists(self) -> bool:
        """Return whether something stands there or below."""
        return self.keeper.exists(self.key)

    def read_bytes(self) -> bytes:
        """Return the content.

        Raises:
            FileNotFoundError: There is none.
        """
        return self.keeper.read(self.key)

    def put_whole(self, content: bytes) -> None:
        """Write it so that readers see the old content or the new, never a part."""
        self.keeper.put(self.key, content)

    def create(self, content: bytes) -> bool:
        """Write it if it is absent; return whether it now holds this content."""
        return self.keeper.create(self.key, content)

    def new_file(self) -> AbstractContextManager[Path]:
        """Yield where to write a file on this machine; when the block ends it stands here."""
        return self.keeper.new_file(self.key)

    def names(self) -> list[str]:
        """Return the names of all that stands below, in order, such as `a/zarr.json`."""
        return self.keeper.names(self.key)

    def delete(self) -> None:
        """Delete it and all below it; nothing happens if it is absent."""
        self.keeper.delete(self.key)

    def zarr_store(self) -> ZarrStore:
        """Return what Zarr needs to read and write below it."""
        return self.keeper.zarr_store(self.key)

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.key)


AnyLocation = Location | Path
"""Where a caller says that a store stands; a path is on a disk."""


def location(where: str | os.PathLike[str] | Location) -> Location:
    """Return the location that a text or path means.

    Raises:
        InvalidInputError: The text is a URL that cannot hold a store.
    """
    if isinstance(where, Location):
        return where
    text = os.fspath(where)
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        return Location("", str(PurePosixPath(text)))
    bucket, _, key = rest.partition("/")
    key = key.rstrip("/")
    if scheme not in SCHEMES or not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key):
        shown = re.sub("//.*@", "//...@", text)
        raise InvalidInputError(
            f"{shown}: is not a place for a store; give a path, or {'://, '.join(SCHEMES)}:// with "
            "a bucket and a name of letters, digits and ._-=+ such as s3://bucket/maps/map.zarr; "
            "credentials belong in the environment"
        )
    return Location(f"{scheme}://{bucket}", key)


def local_path(text: str, what: str) -> Path:
    """Return a path on this machine's disks.

    Args:
        text: The path.
        what: What is kept there, for the error.

    Raises:
        InvalidInputError: The text is a URL.
    """
    if "://" in text:
        raise InvalidInputError(
            f"{re.sub('//.*@', '//...@', text)}: {what} is kept on a disk; give a path that all "
            "workers see"
        )
    return Path(text)
