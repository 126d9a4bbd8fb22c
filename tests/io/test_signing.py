"""Signing against a real token service and a real blob server that checks its tokens."""

import datetime as dt
import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from affine import Affine

from sscl_geo import plugins
from sscl_geo.errors import CatalogError, ReadError
from sscl_geo.frozen import read_yaml
from sscl_geo.io.patience import Patience
from sscl_geo.io.profile import Profile
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import Sas, SasSigner, Signer, signer

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/35/X/B02.tif"


class Tokens:
    """A token service: counts what it gives, and lets a token live for `life` seconds.

    Its clock may be wrong by `skew` seconds.
    """

    def __init__(self, life: float, skew: float = 0) -> None:
        self.life = life
        self.skew = skew
        self.given: list[str] = []

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.skew)

    def __call__(self, asked: Any) -> Any:
        self.given.append(f"{asked.path.removeprefix('/token/')}-{len(self.given)}")
        expiry = self.now() + dt.timedelta(seconds=self.life)
        told = {"token": f"sig={self.given[-1]}", "msft:expiry": expiry.isoformat()}
        return told, 200, {"Date": format_datetime(self.now(), usegmt=True)}


def sas(server: Any, **more: Any) -> Sas:
    return Sas(tokens_url=f"{server.url}/token", **more)


def signature(href: str) -> str:
    return parse_qs(urlsplit(href).query)["sig"][0]


def test_one_token_signs_all_of_a_container(serve: Any) -> None:
    tokens = Tokens(life=2700)
    sign = signer(sas(serve(tokens)))
    assert isinstance(sign, Signer)
    assert sign(BLOB) == f"{BLOB}?sig=sentinel2l2a01/sentinel2-l2-0"
    assert signature(sign(BLOB.replace("B02", "B03"))) == "sentinel2l2a01/sentinel2-l2-0"
    assert signature(sign(BLOB.replace("-l2/", "-l1/"))) == "sentinel2l2a01/sentinel2-l1-1"
    assert len(tokens.given) == 2


def test_threads_share_a_token(serve: Any) -> None:
    tokens = Tokens(life=2700)
    sign = signer(sas(serve(tokens)))
    with ThreadPoolExecutor(8) as pool:
        signed = {*pool.map(sign, [BLOB] * 50)}
    assert len(signed) == len(tokens.given) == 1


@pytest.mark.parametrize("life", [-60, -2])
def test_a_token_that_comes_expired_is_never_used_twice(serve: Any, life: int) -> None:
    tokens = Tokens(life=life)
    sign = signer(sas(serve(tokens)))
    assert signature(sign(BLOB)) != signature(sign(BLOB))


def test_a_token_that_lives_a_second_is_renewed_in_time(serve: Any) -> None:
    tokens = Tokens(life=1)
    sign = signer(sas(serve(tokens)))
    first = sign(BLOB)
    time.sleep(1.05)
    assert sign(BLOB) != first
    assert len(tokens.given) == 2


def test_a_token_is_renewed_by_the_server_s_clock_not_ours(serve: Any) -> None:
    for skew in (-7200, 7200):
        living, dying = Tokens(life=2700, skew=skew), Tokens(life=-2, skew=skew)
        sign = signer(sas(serve(living)))
        assert sign(BLOB) == sign(BLOB)
        sign = signer(sas(serve(dying)))
        assert sign(BLOB) != sign(BLOB)


def test_a_refused_token_is_renewed_on_demand(serve: Any) -> None:
    sign = signer(sas(serve(Tokens(life=2700))))
    before = sign(BLOB)
    sign.renew(BLOB)
    assert sign(BLOB) != before
    sign.renew("https://elsewhere.example.org/a/b/c")


def test_only_the_hosts_of_the_token_service_are_signed(serve: Any) -> None:
    tokens = Tokens(life=2700)
    sign = signer(sas(serve(tokens)))
    for href in ("https://a.example.org/b/c.tif", "https://a.blob.core.windows.net.evil.org/b/c/d"):
        assert sign(href) == href
    assert sign("/folder/a.tif") == "/folder/a.tif"
    assert tokens.given == []


def test_without_signing_an_address_stays_as_it_is() -> None:
    sign = signer("none")
    assert isinstance(sign, Signer)
    sign.renew(BLOB)
    assert sign(BLOB) == BLOB


def test_settings_travel_to_workers_and_keys_do_not(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(Tokens(life=2700))
    settings = sas(server, key_variable="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "very-secret")
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
    assert b"very-secret" not in pickle.dumps(settings)
    signer(settings)(BLOB)
    assert server.asked[0].headers["Ocp-Apim-Subscription-Key"] == "very-secret"


def test_the_key_does_not_follow_a_redirect(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "very-secret")
    other = serve(Tokens(life=2700))
    evil = serve(lambda asked: (b"", 302, {"Location": f"{other.url}{asked.path}"}))
    with pytest.raises(CatalogError, match="another server") as error:
        signer(sas(evil, key_variable="SOME_KEY"))(BLOB)
    assert other.asked == []
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"token": "sig=hidden"},
        {"token": "sig=hidden", "msft:expiry": "soon"},
        [],
        b"sig=hidden",
    ],
)
def test_a_service_that_gives_no_token_is_told_in_one_line(serve: Any, answer: Any) -> None:
    with pytest.raises(CatalogError) as error:
        signer(sas(serve(lambda _: answer)))(BLOB)
    assert "\n" not in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_service_that_fails_makes_reads_fail_and_no_scene_a_refusal(
    serve: Any, is_there: bool
) -> None:
    server = serve(lambda _: (b"", 404))
    settings = sas(server) if is_there else sas(server).replace(tokens_url="http://127.0.0.1:9")
    patience = Patience(attempts=2, first_pause=0.01)
    with (
        GeoTiffReader(signer(settings), patience) as reader,
        pytest.raises(ReadError, match="cannot be signed") as error,
    ):
        reader.overview(BLOB, 64)
    assert error.value.is_permanent is is_there


def test_the_shipped_profile_names_the_planetary_computer_s_service() -> None:
    profile = read_yaml(Profile, plugins.shipped("catalogs") / "planetary-computer.yaml")
    assert isinstance(profile.signing, Sas)
    assert isinstance(signer(profile.signing), SasSigner)


def written(path: Path) -> bytes:
    array = np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64)
    form = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint16"}
    transform = Affine(10, 0, 0, 0, -10, 640)
    with rasterio.open(path, "w", **form, crs="EPSG:32633", transform=transform) as file:
        file.write(array)
    return path.read_bytes()


def test_a_reader_outlives_its_tokens_and_tells_no_signature(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Blobs answer only to the newest token; the signature shows nowhere."""
    content = written(tmp_path / "a.tif")
    tokens = Tokens(life=2700)

    def blob(asked: Any) -> Any:
        told = parse_qs(urlsplit(asked.path).query).get("sig", [""])[0]
        if asked.path.startswith("/account/box/a.tif") and told == tokens.given[-1]:
            return content
        return b"", 403

    blobs = serve(blob)
    href = f"{blobs.url}/account/box/a.tif"
    sign = signer(sas(serve(tokens), hosts=("127.0.0.1",)))
    with caplog.at_level(logging.INFO), GeoTiffReader(sign) as reader:
        assert reader.overview(href, 64).sum() == np.arange(64 * 64).sum()
        sign.renew(href)
        assert reader.overview(href, 64).shape == (64, 64)
    with (
        caplog.at_level(logging.INFO),
        GeoTiffReader(sign) as reader,
        pytest.raises(ReadError, match="cannot be read") as error,
    ):
        reader.overview(f"{blobs.url}/account/box/absent.tif", 64)
    assert "sig=" not in str(error.value)
    assert len(tokens.given) > 1
    assert "sig=" not in caplog.text
