import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import requests

from sscl_geo.demo.serve import HOST, served, served_files
from sscl_geo.errors import InvalidInputError


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.json"
    path.write_text(
        '{"type": "Catalog", "id": "a", "stac_version": "1.0.0", "description": "a", "links": []}'
    )
    return path


def free_pair() -> int:
    """Return a free port with free neighbours, none of those that systems give to clients."""
    ports = random.Random(os.getpid())  # noqa: S311 - no secret
    while True:
        port = ports.randrange(20_000, 30_000)
        with suppress(OSError), ExitStack() as stack:
            for number in (port - 1, port, port + 1):
                stack.enter_context(socket.socket()).bind((HOST, number))
            return port


@pytest.mark.parametrize("which", [0, 1])
def test_a_port_of_another_server_is_refused(catalog: Path, which: int) -> None:
    with socket.socket() as other:
        port = free_pair()
        other.bind((HOST, port))
        other.listen()
        with (
            pytest.raises(InvalidInputError, match=rf"--port: {HOST}:{port} .*in use"),
            served(catalog, port - which),
        ):
            pytest.fail("it was served")


def test_a_port_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--port: "), served_files(tmp_path, 70000):
        pytest.fail("it was served")


def test_files_are_served_by_ranges(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdef")
    with served_files(tmp_path) as url:
        answer = requests.get(f"{url}/a.txt", headers={"Range": "bytes=2-3"}, timeout=5)
    assert (answer.status_code, answer.text) == (206, "cd")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children of tests that run in the background of a shell would inherit a deaf ear."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_with_all_its_servers(catalog: Path, ending: signal.Signals) -> None:
    port = free_pair()
    command = [sys.executable, "-m", "sscl_geo.cli", "serve", str(catalog), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert f"STAC API http://{HOST}:{port}" in server.stdout.readline()
        family = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(ending)
        try:
            server.wait(30)
        finally:
            server.kill()
    assert len(family) >= 2
    assert not psutil.wait_procs(family, timeout=10)[1]
