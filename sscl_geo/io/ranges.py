"""Ranges of bytes of a remote file, each proven to be the range that was asked for."""

import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from urllib.parse import urlsplit

import numpy as np
import requests
import urllib3

from sscl_geo.errors import CatalogError, ReadError
from sscl_geo.io.answers import Part, Span, network_failure, received
from sscl_geo.io.patience import AttemptError, Kind, Patience
from sscl_geo.io.peers import PublicAdapter, mounted
from sscl_geo.io.signing import Signer
from sscl_geo.io.trust import redacted

CONNECTIONS = 4
"""Ranges of one file that are asked for at once."""

CONNECT_SECONDS = 10.0


class RangeClient:
    """Asks servers for ranges, signing every request, until it is closed.

    Redirects are not followed: an address leads where its catalogue's hosts allow, or nowhere.

    Args:
        sign: Turns an unsigned address into one that can be read now.
        patience: When to try again.
    """

    def __init__(self, sign: Signer, patience: Patience) -> None:
        self._sign = sign
        self._patience = patience
        self._session = requests.Session()
        # Reading the environment for every request costs more than the request's own code; and no
        # credentials of a .netrc file belong to a server of pixels.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._proxies = cache(partial(requests.utils.get_environ_proxies, no_proxy=None))
        mounted(self._session, PublicAdapter(sign.private_hosts, pool_maxsize=CONNECTIONS))
        self._threads = ThreadPoolExecutor(CONNECTIONS)
        self._renewing = threading.Lock()

    def close(self) -> None:
        """End connections and threads."""
        self._threads.shutdown(cancel_futures=True)
        self._session.close()

    def fetch(self, href: str, spans: list[Span]) -> list[Part]:
        """Return the bytes of each span.

        Raises:
            ReadError: A span cannot be had; the others are given up.
        """
        if len(spans) == 1:
            return [self._persistently(href, spans[0])]
        return list(self._threads.map(lambda span: self._persistently(href, span), spans))

    def _persistently(self, href: str, span: Span) -> Part:
        # Its own generator, so that pauses do not depend on which thread comes first.
        random = np.random.default_rng([zlib.crc32(href.encode()), *span])
        try:
            return self._patience.persist(lambda: self._once(href, span), random)
        except AttemptError as error:
            raise ReadError(
                f"{redacted(href)} cannot be read: {error.cause} (attempts: {error.attempts})",
                is_permanent=error.kind != "transient",
            ) from None

    def _once(self, href: str, span: Span) -> Part:
        signed = self._signed(href)
        try:
            return self._asked(signed, span)
        except AttemptError as error:
            if error.kind == "unauthorised":
                self._renew(href, signed)
            raise

    def _renew(self, href: str, refused: str) -> None:
        with self._renewing:
            # Another thread may have done it since.
            if self._signed(href) == refused:
                self._sign.renew(href)

    def _signed(self, href: str) -> str:
        try:
            return self._sign(href)
        except CatalogError as error:
            kind: Kind = "transient" if error.is_passing else "permanent"
            raise AttemptError(f"it cannot be signed: {error}", kind) from None

    def _asked(self, signed: str, span: Span) -> Part:
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}", "Accept-Encoding": "identity"}
        timeout = (min(CONNECT_SECONDS, self._patience.silence), self._patience.silence)
        try:
            with self._session.get(
                signed,
                headers=headers,
                stream=True,
                timeout=timeout,
                allow_redirects=False,
                proxies=self._proxies(_origin(signed)),
            ) as response:
                return received(response, span, self._patience)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise network_failure(error) from None


def _origin(address: str) -> str:
    """Return scheme and host of an address, as proxies are chosen by them."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
