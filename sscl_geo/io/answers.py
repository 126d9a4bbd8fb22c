"""What an HTTP server's answer to a request of a range says, and whether it is to be believed."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import requests
import urllib3

from sscl_geo.io.patience import AttemptError, Kind, Patience
from sscl_geo.io.trust import redacted

_PIECE = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PASSING = {408, 425, 429}


class Span(NamedTuple):
    """Bytes `start` to `stop`, half-open."""

    start: int
    stop: int


class Part(NamedTuple):
    """Bytes of a file.

    Attributes:
        data: The bytes asked for, fewer only where the file ends.
        total: Size of the file.
        etag: Its strong ETag, or an empty string.
    """

    data: bytes
    total: int
    etag: str


def received(response: requests.Response, span: Span, patience: Patience) -> Part:
    """Return the bytes of a span from the answer to a request of it.

    A body counts only if its status, its Content-Range (or, of a whole file, its Content-Length)
    and its length agree with what was asked (RFC 9110, 14 and 15).

    Raises:
        AttemptError: They do not, or the server refused, or is slower than the patience allows.
        OSError, urllib3.exceptions.HTTPError: The connection broke; see `network_failure`.
    """
    _check_status(response)
    found, total = _range(response, span)
    etag = response.headers.get("ETag", "")
    return Part(_body(response, found, patience), total, "" if etag.startswith("W/") else etag)


def _check_status(response: requests.Response) -> None:
    code = response.status_code
    if code in (requests.codes.ok, requests.codes.partial_content):
        return
    cause = f"HTTP {code} {response.reason or ''}".strip()
    if response.is_redirect:
        cause += f" to {redacted(response.headers['Location'])}, and redirects are not followed"
    raise AttemptError(cause, _kind(code), _retry_after(response))


def _kind(code: int) -> Kind:
    if code in (requests.codes.unauthorized, requests.codes.forbidden):
        return "unauthorised"
    return "transient" if code in _PASSING or code >= requests.codes.server_error else "permanent"


def _retry_after(response: requests.Response) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3) by the server's own clock."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        now = parsedate_to_datetime(response.headers.get("Date", ""))
        return max((parsedate_to_datetime(value) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _range(response: requests.Response, span: Span) -> tuple[Span, int]:
    """Return the range that a body is to hold by its headers, and the size of the file."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise AttemptError("the server sends ranges of a compressed file", "transient")
    found, total = _declared(response)
    wanted = Span(span.start, min(span.stop, total))
    if found != wanted:
        raise AttemptError(
            f"the server sent bytes {found.start}-{found.stop} of {total} "
            f"when asked for {span.start}-{span.stop}",
            "transient",
        )
    return found, total


def _declared(response: requests.Response) -> tuple[Span, int]:
    if response.status_code == requests.codes.ok:
        length = response.headers.get("Content-Length", "")
        if length.isdecimal():
            return Span(0, int(length)), int(length)
    else:
        parts = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if parts is not None:
            return Span(int(parts[1]), int(parts[2]) + 1), int(parts[3])
    raise AttemptError("the server does not tell which bytes it sends", "transient")


def _body(response: requests.Response, span: Span, patience: Patience) -> bytes:
    size = span.stop - span.start
    deadline = time.monotonic() + patience.silence + size / patience.slowest
    pieces: list[bytes] = []
    got = 0
    while got <= size and (piece := response.raw.read1(_PIECE)):
        pieces.append(piece)
        got += len(piece)
        if time.monotonic() > deadline:
            raise AttemptError(f"slower than {patience.slowest:g} bytes/s", "transient")
    if got != size:
        raise AttemptError(f"{got} bytes came instead of {size}", "transient")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def network_failure(error: Exception) -> AttemptError:
    """Return a failure of the network, told without the address, which may be signed."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return AttemptError("no answer in time", "transient")
    if isinstance(error, ValueError):
        return AttemptError("the address is malformed", "permanent")
    return AttemptError(f"no connection or a broken one ({_innermost(error)})", "transient")


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__
