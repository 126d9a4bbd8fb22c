"""What an address in catalogue content may be."""

import fnmatch
import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from sscl_geo.errors import UntrustedHrefError

_FORBIDDEN = re.compile(r"[\x00-\x1f<>\"\\^`{|}\x7f]|/vsi|\.\.", re.IGNORECASE)
_WEB = ("http", "https")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_SECRET = re.compile(
    r"[?&](sig|se|token|key|api_?key|subscription-key|x-amz-[a-z-]+)=", re.IGNORECASE
)


def checked_href(href: str, hosts: tuple[str, ...], root: Path | None) -> str:
    """Return the address if its catalogue may send us there.

    Args:
        href: An absolute URL or path.
        hosts: Patterns of the hosts that may be read, such as `*.blob.core.windows.net`.
        root: Folder of a catalogue on disk, below which files may be read.

    Raises:
        UntrustedHrefError: The address has a scheme, host, folder or character that is not allowed.
    """
    shown = redacted(href)
    if _FORBIDDEN.search(unquote(href)):
        raise UntrustedHrefError(
            f"asset address {shown!r}: holds characters or a path that no plain address has"
        )
    if _SECRET.search(href):
        raise UntrustedHrefError(
            f"asset address {shown!r}: is signed already, and its signature would be kept; take "
            "unsigned items, and a profile that signs"
        )
    parts = _split(href)
    if parts.scheme in _WEB and " " not in href:
        return _checked_host(href, parts.hostname or "", hosts)
    if (
        parts.scheme == ""
        and root is not None
        and Path(href).resolve().is_relative_to(root.resolve())
    ):
        return href
    raise UntrustedHrefError(
        f"asset address {shown!r}: only http, https and files below the catalogue are read"
    )


def _split(href: str) -> SplitResult:
    try:
        return urlsplit(href)
    except ValueError as error:
        raise UntrustedHrefError(f"asset address is malformed: {error}") from None


def _checked_host(href: str, host: str, hosts: tuple[str, ...]) -> str:
    host = host.rstrip(".")
    if any(_meets(host.lower(), pattern.lower()) for pattern in hosts):
        return href
    raise UntrustedHrefError(
        f"asset address {redacted(href)!r}: host {host!r} is not among the hosts of its "
        f"catalogue ({', '.join(hosts) or 'none'}); name it under `hosts` in a profile"
    )


def _meets(host: str, pattern: str) -> bool:
    """Whether a host meets a pattern; one in a private network only if it is named itself."""
    if is_told_as_it_is(host) and not (_is_number(host) and is_public(ipaddress.ip_address(host))):
        return host == pattern
    return fnmatch.fnmatchcase(host, pattern)


def is_told_as_it_is(host: str) -> bool:
    """Whether a host is an address in numbers or `localhost`, so that no name server is asked."""
    return host == "localhost" or _is_number(host)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: Ip) -> bool:
    """Whether an address is one of the internet's, also when it wraps one of the older kind."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
    return address.is_global and not address.is_multicast


def redacted(href: str) -> str:
    """Return an address without its query, which may hold a signature, and without credentials."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return "malformed"
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()
