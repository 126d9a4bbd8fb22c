"""A run with planted secrets: none of them in anything that it leaves or says."""

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from sscl_geo.demo.serve import served
from sscl_geo.plugins import shipped
from sscl_geo.redaction import HIDDEN
from tests.faults.proxy import Plan, faulty

ROOT = Path(__file__).parents[2]
SIGNATURE = "pLanTedSignature0123456789"
PLANTED = {
    "A_SUBSCRIPTION_KEY": "pLanTedSubscription0123456789",
    "AWS_SECRET_ACCESS_KEY": "pLanTedSecret0123456789",
    "AWS_SESSION_TOKEN": "pLanTedSession0123456789",
    "RAY_AUTH_TOKEN": "pLanTedRayToken0123456789",
}
# The command, in a process that logs whatever any library would say.
LOGGED = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, filename=sys.argv[1])
from sscl_geo.ingest import main
del sys.argv[1]
main()
"""


class Vault(ThreadingHTTPServer):
    """Files that need a signature, and the service that signs who has the key; one file is gone."""

    daemon_threads = True

    def __init__(self, files: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.signed = 0


class _Handler(BaseHTTPRequestHandler):
    server: Vault

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/token/"):
            self._sign()
        elif parse_qs(parts.query).get("sig") != [SIGNATURE]:
            self.send_error(403)
        elif re.search("20240407.*B11", parts.path):
            self.send_error(404)
        else:
            self._forward(parts.path)

    def _sign(self) -> None:
        if self.headers.get("x-key") != PLANTED["A_SUBSCRIPTION_KEY"]:
            self.send_error(401)
            return
        expiry = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        self._send(200, {}, f'{{"token": "sig={SIGNATURE}", "msft:expiry": "{expiry}"}}'.encode())

    def _forward(self, path: str) -> None:
        self.server.signed += 1
        wanted = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        asked = urllib.request.Request(self.server.files + path, headers=wanted)  # noqa: S310
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - on loopback
            kept = {
                k: v for k, v in answer.headers.items() if k.lower() in ("content-range", "etag")
            }
            self._send(answer.status, kept, answer.read())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Guarded(NamedTuple):
    """A catalogue whose files need a signature."""

    api: str
    vault: Vault


@pytest.fixture(scope="module")
def guarded(world: Any) -> Iterator[Guarded]:
    with served(world.catalog) as urls, Vault(urls.files) as vault:
        thread = threading.Thread(target=vault.serve_forever)
        thread.start()
        with faulty(urls.api, Plan(share=0, rewrite=((urls.files, vault.url),))) as api:
            yield Guarded(api.url, vault)
        vault.shutdown()
        thread.join()


def test_nothing_that_a_run_leaves_or_says_holds_a_secret(
    world: Any, guarded: Guarded, tmp_path: Path
) -> None:
    profile = yaml.safe_load((shipped("catalogs") / "generic.yaml").read_text())
    profile["name"] = "guarded"
    profile["signing"] = {
        "kind": "sas",
        "tokens_url": f"{guarded.vault.url}/token",
        "hosts": ["127.0.0.1"],
        "key_variable": "A_SUBSCRIPTION_KEY",
        "key_header": "x-key",
    }
    (tmp_path / "guarded.yaml").write_text(yaml.safe_dump(profile))
    environment = {**os.environ, **PLANTED, "PYTHONPATH": str(ROOT)}
    said = []
    for number, executor in enumerate(("serial", "dask")):
        command = [
            *(sys.executable, "-c", LOGGED, str(tmp_path / f"{number}.log")),
            *("--catalog", guarded.api, "--profile", str(tmp_path / "guarded.yaml")),
            *("--bbox", *map(str, world.bbox), "--datetime", "2024-04-01/2024-04-30"),
            *("--period", "P15D", "--tile-px", "512", "--sensors", "sentinel2_l2a"),
            *("--executor", executor, "--out", str(tmp_path / "cube.zarr")),
        ]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 1, done.stderr
        assert "B11.tif cannot be read: HTTP 404" in done.stderr
        said.append((done.stdout + done.stderr).encode())
    assert guarded.vault.signed > 20
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) > 10
    assert any(f"sig={HIDDEN}".encode() in content for content in left), "no library logged"
    for secret in (SIGNATURE, *PLANTED.values()):
        assert not any(secret.encode() in content for content in (*left, *said)), secret
