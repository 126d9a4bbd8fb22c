"""A STAC API with a database of its own: stac-fastapi-pgstac on PostgreSQL with PostGIS."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
USER = "postgres"
"""Who owns the database where the tests run as root, which PostgreSQL refuses."""

_SECONDS = 60


def missing() -> str | None:
    """What this machine lacks, or None."""
    if not POSTGRES:
        return "PostgreSQL is not installed (apt-get install postgresql-15-postgis-3)"
    version = POSTGRES[-1].parts[-2]
    control = Path(f"/usr/share/postgresql/{version}/extension/postgis.control")
    return None if control.exists() else f"PostGIS is not installed ({control} is absent)"


@contextmanager
def pgstac(collections: Sequence[Any], items: Sequence[Any]) -> Iterator[str]:
    """Serve collections and items (JSON) until the block ends; give the landing page's address."""
    with _database() as where:
        _load(where, "collections", collections)
        _load(where, "items", items)
        port = _free_port()
        command = [
            *(sys.executable, "-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"),
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
        ]
        url = f"http://127.0.0.1:{port}"
        with subprocess.Popen(command, env={**os.environ, **where}) as server:
            try:
                _wait(lambda: _answers(f"{url}/_mgmt/ping"))
                yield url
            finally:
                server.terminate()


@contextmanager
def _database() -> Iterator[Mapping[str, str]]:
    """Run an empty pgstac database; give the variables by which clients find it."""
    folder = Path(tempfile.mkdtemp(prefix="sscl-geo-pgstac-"))
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
        owner = {"user": USER, "group": USER, "extra_groups": ()}
    port, data = str(_free_port()), folder / "data"
    where = {
        "PGHOST": "127.0.0.1",
        "PGPORT": port,
        "PGUSER": "stac",
        "PGPASSWORD": "loopback",
        "PGDATABASE": USER,
    }
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": folder, **owner}
    initdb = [
        *(str(POSTGRES[-1] / "initdb"), "-D", str(data), "-U", "stac", "-A", "trust"),
        *("--no-sync", "--locale=C.UTF-8"),
    ]
    subprocess.run(initdb, check=True, **quiet)
    postgres = [
        *(str(POSTGRES[-1] / "postgres"), "-D", str(data), "-p", port, "-k", str(folder)),
        *("-h", "127.0.0.1", "-c", "fsync=off"),
    ]
    try:
        with (folder / "log").open("wb") as log:
            quiet["stdout"] = log
            with subprocess.Popen(postgres, stderr=log, **quiet) as server:
                try:
                    _wait(lambda: (data / "postmaster.pid").read_text().rstrip().endswith("ready"))
                    _pypgstac(where, "migrate")
                    yield where
                finally:
                    server.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load(where: Mapping[str, str], what: str, documents: Sequence[Any]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
        file.writelines(f"{json.dumps(document)}\n" for document in documents)
        file.flush()
        _pypgstac(where, "load", what, file.name)


def _pypgstac(where: Mapping[str, str], *words: str) -> None:
    command = [str(Path(sysconfig.get_path("scripts")) / "pypgstac"), *words]
    done = subprocess.run(
        command, env={**os.environ, **where}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _wait(is_ready: Any) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            if is_ready():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - on loopback
        return bool(answer.status == 200)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
