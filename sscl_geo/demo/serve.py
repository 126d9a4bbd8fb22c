"""A static STAC catalogue as a real STAC API and a range-capable file server, both on loopback."""

import json
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pystac

from sscl_geo.errors import CatalogError, InvalidInputError, brief

HOST = "127.0.0.1"
START_SECONDS = 30.0
_FILES_APP = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
files = Mount("/", StaticFiles(directory=sys.argv[1]))
uvicorn.run(Starlette(routes=[files]), host=sys.argv[2], port=int(sys.argv[3]), log_level="warning")
"""


class Served(NamedTuple):
    """Addresses of a served catalogue: the API's landing page, and the folder of its files."""

    api: str
    files: str


@contextmanager
def served(catalog: Path, port: int = 0) -> Iterator[Served]:
    """Serve a static catalogue until the block ends.

    Args:
        catalog: Path of its `catalog.json`; assets lie in the same folder or below.
        port: Port of the API; the files get the next one. 0 takes two free ports.

    Raises:
        InvalidInputError: The file is absent or not a STAC catalogue, or a port is in use.
        CatalogError: A server did not start, or died.
    """
    ports = (port, port + 1) if port else (_free_port(), _free_port())
    _check_free(ports[0])
    urls = Served(f"http://{HOST}:{ports[0]}", f"http://{HOST}:{ports[1]}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sscl-geo-stac-")))
        documents = _absolute(catalog, urls.files, folder)
        stack.enter_context(served_files(catalog.resolve().parent, ports[1]))
        api = [_rustac(), "serve", "--addr", f"{HOST}:{ports[0]}", *map(str, documents)]
        stack.enter_context(_running(api, urls.api, folder / "api.log"))
        yield urls


@contextmanager
def served_files(root: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder's files, by ranges too, until the block ends; give the folder's address.

    Raises:
        InvalidInputError: The port is in use.
        CatalogError: The server did not start, or died.
    """
    number = port or _free_port()
    _check_free(number)
    url = f"http://{HOST}:{number}"
    command = [sys.executable, "-c", _FILES_APP, str(root), HOST, str(number)]
    with (
        tempfile.TemporaryDirectory(prefix="sscl-geo-files-") as folder,
        _running(command, url, Path(folder) / "files.log"),
    ):
        yield url


def _absolute(catalog: Path, files: str, folder: Path) -> list[Path]:
    """Write collections and items with absolute asset addresses; return the documents' paths."""
    root = catalog.resolve().parent
    try:
        collections = list(pystac.Catalog.from_file(str(catalog)).get_collections())
        paths = [_write(folder / f"{c.id}.json", _plain(c.to_dict())) for c in collections]
        items = [_item(item, root, files) for c in collections for item in c.get_items()]
    except (OSError, pystac.STACError, pystac.STACTypeError, KeyError, ValueError) as error:
        raise InvalidInputError(
            f"{catalog} cannot be read as a STAC catalogue: {brief(error)}"
        ) from None
    collected: dict[str, object] = {"type": "FeatureCollection", "features": items}
    return [*paths, _write(folder / "items.json", collected)]


def _item(item: pystac.Item, root: Path, files: str) -> dict[str, object]:
    plain = _plain(item.to_dict(include_self_link=False, transform_hrefs=False))
    for key, asset in item.assets.items():
        path = Path(asset.get_absolute_href() or asset.href).resolve()
        relative = path.relative_to(root).as_posix()
        plain["assets"][key]["href"] = f"{files}/{relative}"  # type: ignore[index]
    return plain


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {**fields, "links": []}


def _write(path: Path, content: dict[str, object]) -> Path:
    path.write_text(json.dumps(content))
    return path


def _rustac() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "rustac"
    found = str(beside) if beside.exists() else shutil.which("rustac")
    if found is None:
        raise InvalidInputError(
            "the STAC API server `rustac` is not installed; "
            "in your checkout: pip install -e '.[demo]'"
        )
    return found


@contextmanager
def _running(command: list[str], url: str, log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)  # noqa: S603 - our servers
        try:
            _wait(process, url, log)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip()
            last = (said.splitlines() or ["no output"])[-1]
            raise CatalogError(f"the server at {url} ended at once: {last}")
        if _answers(url):
            return
        time.sleep(0.05)
    raise CatalogError(f"the server at {url} did not answer within {START_SECONDS:g} s")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - http on loopback
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _check_free(port: int) -> None:
    """Refuse a port on which another server would answer in place of ours."""
    with socket.socket() as probe:
        # As servers do, so that connections of one that has ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InvalidInputError(
                f"--port: {HOST}:{port} cannot be listened on ({error}); the API takes the port "
                "and the files the next one: name another, or 0 for two free ones"
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
