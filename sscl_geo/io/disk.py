"""Files and folders of a disk, where readers see a file whole or not at all."""

import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

PENDING = ".partial"
"""Marks the name of a file that is not whole yet; a killed writer leaves it."""


class Disk:
    """What is kept on a disk that this machine sees; keys are paths."""

    def exists(self, key: str) -> bool:
        """Return whether a file or folder stands there."""
        return os.path.lexists(key)

    def read(self, key: str) -> bytes:
        """Return a file's bytes."""
        return Path(key).read_bytes()

    def put(self, key: str, content: bytes) -> None:
        """Write a file whose readers see the old content or the new; its folder is made."""
        write_whole(Path(key), content)

    @contextmanager
    def new_file(self, key: str) -> Iterator[Path]:
        """Yield where to write a file; when the block ends it stands at the key, whole."""
        pending = _pending(Path(key))
        try:
            yield pending
            pending.replace(key)
            sync(Path(key), Path(key).parent)
        finally:
            pending.unlink(missing_ok=True)

    def create(self, key: str, content: bytes) -> bool:
        """Write a file if there is none; return whether it now holds this content."""
        path = Path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        pending = _pending(path)
        try:
            _write_through(pending, content)
            os.link(pending, path)
        except FileExistsError:
            return path.read_bytes() == content
        finally:
            pending.unlink(missing_ok=True)
        return True

    def names(self, key: str) -> list[str]:
        """Return the names of all files below a folder, in order."""
        folder = Path(key)
        files = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(folder).as_posix() for path in files)

    def delete(self, key: str) -> None:
        """Delete a file, or a folder with all that it holds; nothing happens if it is absent."""
        path = Path(key)
        if path.is_dir():
            # Under its own name it would be half a folder for a while, and after a kill for ever;
            # the next command that makes a store here deletes what is called so.
            gone = path.with_name(f".{path.name}.{uuid.uuid4().hex}.pending")
            path.rename(gone)
            with suppress(FileNotFoundError):
                shutil.rmtree(gone)
        else:
            path.unlink(missing_ok=True)

    def zarr_store(self, key: str) -> ZarrStore:
        """Return what Zarr needs to read and write below a folder."""
        return LocalStore(key)


def sha256_of(*paths: Path) -> str:
    """Return the SHA-256 of files, one after the other."""
    content = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                content.update(piece)
    return content.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder; readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Disk().new_file(str(path)) as pending:
        _write_through(pending, content)


@contextmanager
def writing_beside(folder: Path, files: Iterable[Path]) -> Iterator[None]:
    """Hold a folder while files beside it are written; delete what killed writers left of them.

    Nothing is deleted while another process holds the folder, or on a disk without locks.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for file in files:
                delete_pending(file)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def delete_pending(path: Path) -> None:
    """Delete what killed writers of a file left beside it, and GDAL beside that."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    # A writer that is given the pending name of another puts a dot more before it.
    left = re.compile(rf"\.+{stem}\.[0-9a-f]{{32}}{re.escape(PENDING)}(\..*)?{suffix}(\..*)?")
    for other in path.parent.glob(".*"):
        if left.fullmatch(other.name):
            other.unlink(missing_ok=True)


def sync(path: Path, root: Path) -> None:
    """Block until a file that others wrote, and its name below a folder, outlast a loss of power.

    A file that is not there, or no more, is none to wait for.
    """
    depth = len(path.relative_to(root).parts)
    with suppress(FileNotFoundError):
        for name in (path, *path.parents[:depth]):
            number = os.open(name, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


def _pending(path: Path) -> Path:
    # With the suffix, by which GDAL knows a format.
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}{PENDING}{path.suffix}")


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
