"""A remote file as GDAL may read it: without a failure that passes unseen."""

from collections.abc import Callable

from sscl_geo.io.answers import Part, Span

PAGE_BYTES = 1 << 16
"""Small reads, of headers, are made in pages of this size; the header of a Sentinel granule's COG
fits one."""

_MOST_PAGES = 64

Fetch = Callable[[list[Span]], list[Part]]


class DamagedError(Exception):
    """A file's bytes are not those of a raster, or do not belong together.

    Attributes:
        is_passing: Whether the same request has given other bytes.
        evidence: The bytes that were at hand.
    """

    def __init__(self, cause: str, is_passing: bool = False) -> None:
        super().__init__(cause)
        self.is_passing = is_passing
        self.evidence: dict[Span, bytes] = {}


class RemoteFile:
    """The bytes of a remote file; what fails is kept, and told by `check`.

    No exception may pass through GDAL, and rasterio 1.4 does not notice a short answer to
    `get_byte_ranges`. So a failed read gives zeros, and every failure after the first also: nothing
    that was made of a file counts until `check` has said so.

    Args:
        fetch: Fetches spans of the file.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._pages: dict[int, bytes] = {}
        self._identity: tuple[int, str] | None = None
        self._failure: BaseException | None = None
        self.delivered: dict[Span, bytes] = {}
        """What was fetched since it was last cleared."""

    @property
    def evidence(self) -> dict[Span, bytes]:
        """The bytes that are at hand."""
        pages = {
            Span(i * PAGE_BYTES, (i + 1) * PAGE_BYTES): page for i, page in self._pages.items()
        }
        return pages | self.delivered

    def check(self) -> None:
        """Raise the first failure of the file, if there is one."""
        if isinstance(self._failure, DamagedError):
            self._failure.evidence = self.evidence
        if self._failure is not None:
            raise self._failure

    def size(self) -> int:
        """Return the file's size in bytes; 0 after a failure."""
        if self._identity is None:
            self.read(0, 1)
        return 0 if self._identity is None else self._identity[0]

    def read(self, start: int, length: int) -> bytes:
        """Return bytes, fewer where the file ends; none after a failure."""
        first, last = start // PAGE_BYTES, (start + length - 1) // PAGE_BYTES
        if last - first >= _MOST_PAGES:
            return self._guarded([Span(start, start + length)])[0]
        self._fill([index for index in range(first, last + 1) if index not in self._pages])
        pages = b"".join(self._pages.get(index, b"") for index in range(first, last + 1))
        while len(self._pages) > _MOST_PAGES:
            del self._pages[next(iter(self._pages))]
        offset = start - first * PAGE_BYTES
        return pages[offset : offset + length]

    def ranges(self, spans: list[Span]) -> list[bytes]:
        """Return the bytes of each span; zeros in place of those that cannot be had."""
        found = self._guarded(spans)
        for span, data in zip(spans, found, strict=True):
            if len(data) < span.stop - span.start:
                self._fail(DamagedError("the file ends before its last tile"))
        # Never more than was asked for: rasterio copies what comes into a buffer of that size.
        return [
            data[: stop - start].ljust(stop - start, b"\0")
            for (start, stop), data in zip(spans, found, strict=True)
        ]

    def _fill(self, missing: list[int]) -> None:
        if not missing or self._is_beyond(missing[0] * PAGE_BYTES):
            return
        first, stop = missing[0], missing[-1] + 1
        data = self._guarded([Span(first * PAGE_BYTES, stop * PAGE_BYTES)])[0]
        for index in range(first, stop):
            offset = (index - first) * PAGE_BYTES
            self._pages[index] = data[offset : offset + PAGE_BYTES]

    def _is_beyond(self, position: int) -> bool:
        return self._identity is not None and position >= self._identity[0]

    def _guarded(self, spans: list[Span]) -> list[bytes]:
        if self._failure is None:
            try:
                return [
                    self._accepted(span, part)
                    for span, part in zip(spans, self._fetch(spans), strict=True)
                ]
            except BaseException as failure:  # noqa: BLE001 - kept for `check`: C code is above us
                self._fail(failure)
        return [b""] * len(spans)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure

    def _accepted(self, span: Span, part: Part) -> bytes:
        identity = (part.total, part.etag)
        if self._identity not in (None, identity):
            raise DamagedError("the file changed while it was read")
        self._identity = identity
        self.delivered[span] = part.data
        return part.data
