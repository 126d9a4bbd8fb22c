"""Signing asset addresses at the moment of reading; a signed address is never kept."""

import fnmatch
import os
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from sscl_geo.errors import CatalogError
from sscl_geo.frozen import Frozen
from sscl_geo.io.transport import Request, Transport

MARGIN_SECONDS = 300.0
"""A token with less time left is renewed; a shorter-lived one, at half its life."""

_BLOB_HOST = ".blob.core.windows.net"


class Sas(Frozen):
    """Azure shared access signatures of a token service, as the Planetary Computer runs it.

    Attributes:
        kind: Tells this kind of signing from others.
        tokens_url: `GET {tokens_url}/{account}/{container}` answers with a token and its expiry.
        hosts: Patterns of the hosts whose addresses are signed; a host outside Azure serves
            `/account/container/blob`.
        key_variable: Environment variable of an optional subscription key.
        key_header: Header that carries the key, to the token service alone.
    """

    kind: Literal["sas"] = "sas"
    tokens_url: str
    hosts: tuple[str, ...] = ("*.blob.core.windows.net",)
    key_variable: str | None = None
    key_header: str = "Ocp-Apim-Subscription-Key"


Signing = Literal["none"] | Sas
"""Who signs a catalogue's addresses; a plain value that travels to workers."""


@runtime_checkable
class Signer(Protocol):
    """Turns an unsigned address into one that can be read now."""

    @property
    def private_hosts(self) -> tuple[str, ...]:
        """Names whose addresses may be private."""
        ...

    def __call__(self, href: str) -> str:
        """Return the address to read."""
        ...

    def renew(self, href: str) -> None:
        """Forget what the address was signed with, after the server refused it."""
        ...


def signer(signing: Signing, private_hosts: tuple[str, ...] = ()) -> Signer:
    """Return the signer of a profile's settings."""
    if isinstance(signing, Sas):
        return SasSigner(signing, private_hosts)
    return Unsigned(private_hosts)


class Unsigned:
    """Leaves addresses as they are."""

    def __init__(self, private_hosts: tuple[str, ...] = ()) -> None:
        self.private_hosts = private_hosts

    def __call__(self, href: str) -> str:
        """Return the address."""
        return href

    def renew(self, href: str) -> None:
        """Do nothing."""


class _Token(NamedTuple):
    query: str
    renew_at: float


class SasSigner:
    """Signs with one token a container, cached and shared by threads.

    Raises:
        CatalogError: On a call, where the token service gives no token.
    """

    def __init__(self, settings: Sas, private_hosts: tuple[str, ...] = ()) -> None:
        self.private_hosts = private_hosts
        self._settings = settings
        key = os.environ.get(settings.key_variable or "")
        headers = {settings.key_header: key} if key else None
        self._transport = Transport(settings.tokens_url, headers, private_hosts)
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()

    def __call__(self, href: str) -> str:
        """Return the address with a token that lives; one of another host stays as it is."""
        container = self._container(href)
        if container is None:
            return href
        joint = "&" if urlsplit(href).query else "?"
        return f"{href}{joint}{self._token(container)}"

    def renew(self, href: str) -> None:
        """Ask for a new token at the next call for the address's container."""
        with self._lock:
            self._tokens.pop(self._container(href) or "", None)

    def _container(self, href: str) -> str | None:
        parts = urlsplit(href)
        host = (parts.hostname or "").lower()
        if not any(fnmatch.fnmatchcase(host, pattern) for pattern in self._settings.hosts):
            return None
        account = [host.removesuffix(_BLOB_HOST)] if host.endswith(_BLOB_HOST) else []
        names = [*account, *parts.path.strip("/").split("/")]
        return f"{names[0]}/{names[1]}" if len(names) > 2 else None  # noqa: PLR2004 - account, container, blob

    def _token(self, container: str) -> str:
        with self._lock:
            token = self._tokens.get(container)
            if token is None or time.monotonic() >= token.renew_at:
                token = self._tokens[container] = self._fetch(container)
            return token.query

    def _fetch(self, container: str) -> _Token:
        asked = time.monotonic()
        answer = self._transport.ask(Request(f"{self._settings.tokens_url}/{container}"))
        query = str(answer.content.get("token") or "").lstrip("?")
        try:
            expiry = datetime.fromisoformat(str(answer.content.get("msft:expiry")))
            now = parsedate_to_datetime(answer.date) if answer.date else datetime.now(UTC)
            life = (expiry - now).total_seconds()
        except (ValueError, TypeError):
            life = None
        if not query or life is None:
            raise CatalogError(
                f"{self._settings.tokens_url} gave no token and expiry for {container}"
            )
        return _Token(query, asked + life - min(MARGIN_SECONDS, life / 2))
