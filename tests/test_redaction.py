import faulthandler
import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import readable, reported
from sscl_geo.redaction import HIDDEN, keep_secrets_out_of_logs, without_secrets

PLANTED = "pLanTed0123456789"
LEAKS = [
    f"GET /a.tif?sv=2024&sig={PLANTED} HTTP/1.1",
    f"https://x.blob.core.windows.net/c/a.tif?sig={PLANTED}&se=2030",
    f"https://bucket.s3.amazonaws.com/a?X-Amz-Signature={PLANTED}",
    f"https://bucket.s3.amazonaws.com/a?X-Amz-Security-Token={PLANTED}&x=1",
    f"https://storage.example.org/a?x-goog-signature={PLANTED}",
    f"https://me:{PLANTED}@example.org/a",
    f"s3://{PLANTED}@bucket/a",
    f"{{'Authorization': 'Bearer {PLANTED}'}}",
    f"Authorization: Basic {PLANTED}==",
    f'"authorization": "{PLANTED}"',
    f"send: b'Ocp-Apim-Subscription-Key: {PLANTED}\\r\\n'",
    f"bearer {PLANTED}",
    f"token={PLANTED}",
    f"access_token={PLANTED}",
    f"/search?api_key={PLANTED}&limit=3",
    f"sig={PLANTED}&se=2030",
    f"a?v=1&amp;sig={PLANTED}",
    f"next=https%3A%2F%2Fx%3Fsig%3D{PLANTED}",
    f'{{"token": "{PLANTED}", "msft:expiry": "2030"}}',
    f"{{'password': '{PLANTED}'}}",
    f"X-Amz-Security-Token: {PLANTED}",
    f"Cookie: a=1; session={PLANTED}",
    f"api-key: {PLANTED}",
    f"AccountName=x;AccountKey={PLANTED};",
    f"AWS_SECRET_ACCESS_KEY={PLANTED}",
    f"('Authorization', 'Bearer {PLANTED}')",
]


@pytest.mark.parametrize("text", LEAKS)
def test_a_secret_is_hidden(text: str) -> None:
    clean = without_secrets(text)
    assert PLANTED not in clean
    assert HIDDEN in clean


PLAIN = [
    "epsg32633/3/12/2024-04-01: done",
    "https://example.org/a.tif?v=1 cannot be read: HTTP status 404 (attempts: 1)",
    "the key 'sig' is missing",
    "tokens are renewed by the server's clock",
    "st=3 of 4",
    "a cookie, which is sweet",
    "the authorization, given",
    "bearer certificate of someone",
    "max_token=5, loss=2",
    "key=epsg32633/0/0",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "piece", ["x-amz-", "secret", "sig=", "token", "authorization: ", "bearer ", "://", "key_", "a"]
)
def test_a_long_text_is_cleaned_in_no_time(piece: str) -> None:
    faulthandler.dump_traceback_later(30, exit=True)
    without_secrets(piece * 20_000)
    faulthandler.cancel_dump_traceback_later()


@given(st.text(max_size=200))
def test_hiding_again_changes_nothing(text: str) -> None:
    clean = without_secrets(text)
    assert without_secrets(clean) == clean


def test_an_error_of_a_library_that_becomes_ours_is_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDSE_KEY", PLANTED)
    for error in (ValueError(f"a?sig={PLANTED}"), OSError(f"the key {PLANTED} is wrong")):
        with pytest.raises(SystemExit), reported(), readable("x.json"):
            raise error
    said = capsys.readouterr().err
    assert PLANTED not in said
    assert said.count("error: x.json cannot be read") == 2
    with pytest.raises(SystemExit), reported():
        raise KeyError(PLANTED)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert PLANTED not in said


def test_what_the_environment_keeps_secret_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/someone/token")
    assert without_secrets(f"a {PLANTED} b") == f"a {HIDDEN} b"
    assert without_secrets("/home/someone/token") == "/home/someone/token"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What handlers of the root logger write."""
    before = logging.getLogRecordFactory()
    keep_secrets_out_of_logs()
    keep_secrets_out_of_logs()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("name", ["rasterio._env", "odc.loader", "urllib3.connectionpool", "x.y"])
@pytest.mark.parametrize("text", LEAKS)
def test_no_logger_tells_a_secret(name: str, text: str, log: io.StringIO) -> None:
    logger = logging.getLogger(name)
    logger.error(text)
    logger.error("asked %s, %d", text, 3)
    logger.error("does not fit: %d %s", text)  # noqa: PLE1206 - on purpose
    try:
        int(text)
    except ValueError:
        logger.exception("failed")
    told = log.getvalue()
    assert PLANTED not in told
    assert told.count(HIDDEN) >= 3
    assert "Traceback" in told
