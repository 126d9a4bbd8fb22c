"""Connections that lead only where a stranger's address may lead: not into a private network.

A name that a catalogue gives may resolve to any address, to another one at every look-up. So the
address that a connection has in the end is checked, before a byte is sent.
"""

import ipaddress
import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from sscl_geo.errors import UntrustedHrefError
from sscl_geo.io.trust import is_public, is_told_as_it_is


class PublicAdapter(HTTPAdapter):
    """An adapter of requests that refuses names which lead into a private network.

    Addresses in numbers and `localhost` need no lookup; the catalogue's list of hosts decides about
    them. A connection by a proxy leads to the proxy, which decides.

    Args:
        private_hosts: Names whose addresses may be private all the same.
        options: Of requests' adapter.
    """

    def __init__(self, private_hosts: tuple[str, ...] = (), **options: Any) -> None:  # noqa: ANN401 - requests' options
        self._private_hosts = tuple(name.lower().rstrip(".") for name in private_hosts)
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - requests' interface
        """Make the pools of connections."""
        super().init_poolmanager(*args, **options)
        private = self._private_hosts

        class Plain(_Checked, HTTPConnection):
            private_hosts = private

        class Tls(_Checked, HTTPSConnection):
            private_hosts = private

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


class _Checked(HTTPConnection):
    """A connection whose other end is checked once it stands."""

    private_hosts: tuple[str, ...] = ()

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        peer = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
        host = self.host.lower()
        if is_public(peer) or is_told_as_it_is(host) or host in self.private_hosts:
            return connection
        connection.close()
        raise UntrustedHrefError(
            f"host {host!r}: leads to {peer}, in a private network; if it is a server of your own, "
            "name it under `private_hosts` in a profile"
        )


def mounted(session: requests.Session, adapter: PublicAdapter) -> requests.Session:
    """Return the session with the adapter for every address of the web."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session
