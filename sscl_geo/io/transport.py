"""HTTP to one server: patient, bounded, and never sent on to another one."""

import json
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, RetryError
from urllib3 import Retry

from sscl_geo.errors import CatalogError, brief
from sscl_geo.io.peers import PublicAdapter, mounted
from sscl_geo.io.trust import redacted

TIMEOUT = (10, 60)
"""Seconds to connect and to wait for bytes."""

MAX_BYTES = 256 << 20
MAX_REDIRECTS = 5
RETRIES = 8
LONGEST_WAIT = 120
"""Seconds that a server may ask us to wait before the next try."""

_PASSING = (requests.ConnectionError, requests.Timeout, RetryError, ChunkedEncodingError)
_PORTS = {"http": 80, "https": 443}
_CHUNK = 1 << 20
_KEEP_METHOD = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)


class Request(NamedTuple):
    """What to ask: a GET, or a POST of a JSON body."""

    href: str
    body: dict[str, object] | None = None


class Answer(NamedTuple):
    """What came back: the JSON object, and the server's `Date` header if it sent one."""

    content: dict[str, object]
    date: str | None


class Transport:
    """Asks one origin for JSON; a redirect or address that leaves the origin is refused unasked.

    A failed request, POST included, is repeated `RETRIES` times with backoff and jitter, or after
    the time that `Retry-After` names.

    Args:
        address: Any address of the origin (scheme, host and port).
        headers: Sent with every request.
        private_hosts: Names whose addresses may be private.
    """

    def __init__(
        self,
        address: str,
        headers: dict[str, str] | None = None,
        private_hosts: tuple[str, ...] = (),
    ) -> None:
        self._origin = origin(address)
        self._session = requests.Session()
        self._session.headers.update(headers or {})
        self._session.max_redirects = MAX_REDIRECTS
        self._session.hooks["response"].append(self._check_redirect)
        retry = Retry(
            total=RETRIES,
            connect=2,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            backoff_max=LONGEST_WAIT,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            retry_after_max=LONGEST_WAIT,
        )
        mounted(self._session, PublicAdapter(private_hosts, max_retries=retry))

    def ask(self, request: Request) -> Answer:
        """Return the answer to a request.

        Raises:
            CatalogError: The address lies elsewhere, or the server does not answer with a JSON
                object of at most `MAX_BYTES`; the message shows no query and no credentials.
            UntrustedHrefError: Its name leads into a private network.
        """
        self._check(request.href)
        try:
            try:
                return self._answer(request)
            except ChunkedEncodingError:
                # urllib3 repeats what has no answer, not an answer that breaks off.
                return self._answer(request)
        except (requests.RequestException, ValueError, RecursionError) as error:
            is_passing = isinstance(error, _PASSING)
            told = f"{redacted(request.href)} failed: {_cause(error)}"
            raise CatalogError(told, is_passing=is_passing) from None

    def _answer(self, request: Request) -> Answer:
        method = "GET" if request.body is None else "POST"
        with self._session.request(
            method, request.href, json=request.body, timeout=TIMEOUT, stream=True
        ) as response:
            response.raise_for_status()
            return Answer(_json(response), response.headers.get("Date"))

    def _check_redirect(self, response: requests.Response, **_: object) -> None:
        if response.is_redirect:
            response.close()
            self._check(joined(response.url, response.headers["Location"]))
            if response.request.method == "POST" and response.status_code not in _KEEP_METHOD:
                raise CatalogError(
                    f"{redacted(response.url)} answers a search with status "
                    f"{response.status_code}, which would lose the question; name the API's "
                    "present address"
                )

    def _check(self, href: str) -> None:
        if origin(href) != self._origin:
            scheme, host, port = self._origin
            raise CatalogError(
                f"{scheme}://{host}:{port} sends on to {redacted(href)!r}, which is another "
                "server; if you trust that one, name its address yourself"
            )


def joined(base: str, href: str) -> str:
    """Return a link of a page as an absolute address.

    Raises:
        CatalogError: The link is malformed.
    """
    try:
        return urljoin(base, href)
    except ValueError as error:
        raise CatalogError(f"a link is malformed: {error}") from None


def origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a web address.

    Raises:
        CatalogError: It is not of http or https.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    if not port or not parts.hostname:
        raise CatalogError(f"{redacted(address)!r} is no address of the web")
    return parts.scheme, parts.hostname, port


def _json(response: requests.Response) -> dict[str, object]:
    content = bytearray()
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB in one answer")
    answer = json.loads(content, parse_constant=lambda _: None)
    if not isinstance(answer, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - bytes, not a caller's type
    return answer


def _cause(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, RetryError):
        return f"still refused after {RETRIES} retries"
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    return brief(error)
