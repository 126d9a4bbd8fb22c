"""Real servers on loopback for the tests of catalogues and signing."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest


class Asked(NamedTuple):
    """A request that reached a server."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Reply(NamedTuple):
    """What a server answers; a body that is not text or bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] | None = None


class Server:
    """An HTTP server whose answers a test writes; `asked` is what reached it, in order."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                asked = Asked(self.command, self.path, dict(self.headers), body)
                server.asked.append(asked)
                self._reply(answer(asked))

            do_POST = do_GET  # noqa: N815 - http.server's name

            do_HEAD = do_GET  # noqa: N815 - http.server's name

            def _reply(self, reply: Reply) -> None:
                is_raw = isinstance(reply.body, bytes)
                content = reply.body if is_raw else json.dumps(reply.body).encode()
                status, headers = reply.status, {"Content-Length": str(len(content))}
                span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                if span and is_raw and status == HTTPStatus.OK:
                    status, size = HTTPStatus.PARTIAL_CONTENT, len(content)
                    content = content[int(span[1]) : int(span[2]) + 1]
                    last = int(span[1]) + len(content) - 1
                    headers["Content-Range"] = f"bytes {span[1]}-{last}/{size}"
                    headers["Content-Length"] = str(len(content))
                self.send_response_only(status)
                for name, value in (headers | (reply.headers or {})).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
                del format, args

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Any]:
    """Return what starts a server from a function of `Asked` to `Reply`."""
    with ExitStack() as stack:

        def start(answer: Callable[[Asked], Any]) -> Server:
            def reply(asked: Asked) -> Reply:
                told = answer(asked)
                return Reply(*told) if isinstance(told, tuple) else Reply(told)

            return stack.enter_context(Server(reply))

        yield start
