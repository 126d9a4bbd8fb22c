"""Remote files by the interface of rasterio's `opener`."""

from rasterio.abc import MultiByteRangeResourceContainer

from sscl_geo.io.answers import Span
from sscl_geo.io.remote import RemoteFile


class Cursor:
    """One of GDAL's handles on a remote file: a position."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._position = 0

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; the base is the file's start, the position, or the file's end."""
        base = (0, self._position, self._file.size() if whence == 2 else 0)[whence]  # noqa: PLR2004 - io.SEEK_END
        self._position = base + offset
        return self._position

    def read(self, length: int = -1) -> bytes:
        """Return bytes from the position on, and move behind them."""
        if length < 0:
            length = self._file.size() - self._position
        data = self._file.read(self._position, length) if length > 0 else b""
        self._position += len(data)
        return data

    def get_byte_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """Return many ranges at once."""
        spans = [Span(start, start + size) for start, size in zip(offsets, sizes, strict=True)]
        return self._file.ranges(spans)


class Opener(MultiByteRangeResourceContainer):  # type: ignore[misc]  # rasterio has no types
    """A folder that holds one remote file, by rasterio's interface."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file

    def open(self, _path: str, _mode: str = "r", **_: object) -> Cursor:
        """Return a new cursor on the file."""
        return Cursor(self._file)

    def isfile(self, _path: str) -> bool:
        """Whether it is there: yes."""
        return True

    def isdir(self, _path: str) -> bool:
        """Whether it is a folder: no."""
        return False

    def ls(self, _path: str) -> list[str]:
        """Return what lies beside it: nothing."""
        return []

    def mtime(self, _path: str) -> int:
        """Return a time of modification: unknown."""
        return 0

    def rm(self, path: str) -> None:
        """Refuse: a remote file is only read."""
        raise PermissionError(path)

    def size(self, _path: str) -> int:
        """Return its size in bytes."""
        return self._file.size()
