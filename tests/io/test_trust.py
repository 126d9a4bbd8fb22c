import fnmatch
import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import UntrustedHrefError
from sscl_geo.io.trust import checked_href, is_public, redacted

HOSTS = ("data.example.org", "*.blob.core.windows.net", "127.0.0.1")

HOSTILE = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "ftp://data.example.org/a.tif",
    "s3://bucket/a.tif",
    "gs://bucket/a.tif",
    "javascript:alert(1)",
    "data:image/tiff;base64,AAAA",
    "/vsicurl/http://data.example.org/a.tif",
    "/VSICURL/http://data.example.org/a.tif",
    "/vsizip//vsicurl/http://data.example.org/a.zip/a.tif",
    "/vsis3/bucket/a.tif",
    "http://data.example.org//vsizip/a.tif",
    "http://data.example.org/%2Fvsicurl/a.tif",
    "http://data.example.org/%76%73%69/../a.tif",
    '<VRTDataset rasterXSize="1"></VRTDataset>',
    "%3CVRTDataset%3E",
    "http://data.example.org/<VRTDataset>",
    "http://data.example.org/../../a.tif",
    "http://data.example.org/%2e%2e/a.tif",
    "http://data.example.org/a.tif\n",
    "http://data.example.org/a\x00.tif",
    "http://data.example.org/a.tif%0d%0aHost:%20evil",
    "http://data.example.org/a b.tif",
    "\thttp://data.example.org/a.tif",
    "http:\\\\data.example.org\\a.tif",
    "http://evil.org/a.tif",
    "https://evil.org/a.tif?data.example.org",
    "https://evil.org/data.example.org/a.tif",
    "http://data.example.org@evil.org/a.tif",
    "http://data.example.org:80@evil.org/a.tif",
    "http://user:data.example.org@evil.org/a.tif",
    "http://evil.org#@data.example.org/a.tif",
    "http://evil.org?@data.example.org/a.tif",
    "http://evil.org\\@data.example.org/a.tif",
    "http://data.example.org.evil.org/a.tif",
    "http://evildata.example.org/a.tif",
    "http://blob.core.windows.net.evil.org/a.tif",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/a.tif",
    "http://2130706433/a.tif",
    "http:///a.tif",
    "//data.example.org/a.tif",
    "http://[data.example.org/a.tif",
    "http://evil.org\uff0f.blob.core.windows.net/a.tif",
    "/etc/passwd",
    "a.tif",
    "",
]
GOOD = [
    "http://data.example.org/a.tif",
    "https://data.example.org/a.tif",
    "HTTPS://DATA.example.org/a.tif",
    "https://data.example.org:8443/deep/a.tif?v=1%2B2&part=3#page",
    "https://sentinel2l2a01.blob.core.windows.net/s2/T35XQA_B02_10m.tif",
    "http://127.0.0.1:8000/a.tif",
]


@pytest.mark.parametrize("href", HOSTILE)
def test_a_hostile_address_is_refused(href: str, tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(UntrustedHrefError, match="asset address"):
            checked_href(href, HOSTS, root)


@pytest.mark.parametrize("href", GOOD)
def test_a_plain_address_of_a_known_host_is_taken_as_it_is(href: str) -> None:
    assert checked_href(href, HOSTS, None) == href


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "[::1]", "localhost"])
def test_an_address_of_a_private_network_is_read_only_if_it_is_named_itself(host: str) -> None:
    href = f"http://{host}/a.tif"
    dotted = f"http://{host}./a.tif"
    with pytest.raises(UntrustedHrefError):
        checked_href(dotted, ("*",), None)
    for patterns in (("*",), ("1*",), ("loc*",), ("[::]*", "::*")):
        with pytest.raises(UntrustedHrefError, match="not among the hosts"):
            checked_href(href, patterns, None)
    assert checked_href(href, (host.strip("[]"),), None) == href


PRIVATE = [
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fe80::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_private_networks_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_in_a_newer_one_is_as_public_as_by_itself(
    address: ipaddress.IPv4Address,
) -> None:
    bits = int(address)
    wrapped = [
        ipaddress.IPv6Address(0xFFFF << 32 | bits),
        ipaddress.IPv6Address(0x2002 << 112 | bits << 80),
        ipaddress.IPv6Address(0x64FF9B << 96 | bits),
        # Teredo, with a public server, hides its client's address in inverted bits.
        ipaddress.IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | bits ^ 0xFFFFFFFF),
    ]
    assert {is_public(one) for one in wrapped} == {is_public(address)}


def test_a_catalogue_without_hosts_sends_us_nowhere() -> None:
    with pytest.raises(UntrustedHrefError, match=r"hosts of its catalogue \(none\)"):
        checked_href(GOOD[0], (), None)


@pytest.mark.parametrize("name", ["a.tif", "deep/er/a.tif", "./a.tif"])
def test_a_file_below_the_catalogue_is_taken(name: str, tmp_path: Path) -> None:
    href = f"{tmp_path}/{name}"
    assert checked_href(href, HOSTS, tmp_path) == href


def test_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "catalogue"
    root.mkdir()
    outside = tmp_path / "secret.tif"
    outside.write_bytes(b"")
    (root / "link.tif").symlink_to(outside)
    (root / "up").symlink_to(tmp_path)
    hostile = [
        outside,
        tmp_path / "catalogue-of-another" / "a.tif",
        root / "link.tif",
        root / "up" / "secret.tif",
        f"{root}/../secret.tif",
        f"{root}/%2e%2e/secret.tif",
        f"file://{root}/a.tif",
    ]
    for href in hostile:
        with pytest.raises(UntrustedHrefError):
            checked_href(str(href), HOSTS, root)
    with pytest.raises(UntrustedHrefError):
        checked_href(f"{root}/a.tif", HOSTS, None)


@given(st.text(max_size=60))
def test_whatever_a_catalogue_says_is_refused_or_leads_to_a_known_host(href: str) -> None:
    try:
        taken = checked_href(href, HOSTS, None)
    except UntrustedHrefError:
        return
    assert taken == href
    assert any(fnmatch.fnmatch(urlsplit(taken).hostname or "", host) for host in HOSTS)


@pytest.mark.parametrize(
    ("href", "shown"),
    [
        ("https://h/a.tif?sig=secret&se=1", "https://h/a.tif"),
        ("https://me:secret@h:8443/a.tif#secret", "https://h:8443/a.tif"),
        ("https://secret@h/a.tif", "https://h/a.tif"),
        ("/data/a.tif", "/data/a.tif"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(href: str, shown: str) -> None:
    assert redacted(href) == shown


def test_a_refusal_does_not_tell_a_signature() -> None:
    with pytest.raises(UntrustedHrefError) as refusal:
        checked_href("https://me:secret@evil.org/a.tif?sig=secret", HOSTS, None)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "query", ["sig=abc", "se=2030&sig=abc", "X-Amz-Signature=abc", "token=abc"]
)
def test_an_address_that_is_signed_already_is_refused_and_not_told(query: str) -> None:
    with pytest.raises(UntrustedHrefError, match="signed already") as error:
        checked_href(f"https://data.example.org/a.tif?{query}", ("data.example.org",), None)
    assert "abc" not in str(error.value)
