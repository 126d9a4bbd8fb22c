"""A real HTTP proxy that harms a share of what passes it, by a seeded plan, in its own process.

`python tests/faults/proxy.py TARGET PLAN` prints its address and serves until it is ended.
"""

import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests

FAULTS = (
    "429", "429-retry-after", "500", "502", "503", "504", "403", "reset", "truncated", "slow",
    "other-range", "whole-file", "corrupt-tile",
)  # fmt: skip
"""What can be done to an answer. `other-range` is an honest 206 of other bytes than were asked for,
`whole-file` a 200 for a request of a range, `corrupt-tile` one flipped bit late in a range of more
than `CORRUPT_BYTES`, where a COG has its pixels. These three harm only requests of ranges."""

WORSE = ("404", "redirect", "shifted", "429-retry-date")
"""More that can be done: any other HTTP status by its number, a 302 to nowhere, a 206 whose header
claims the range asked for, over other bytes, and a Retry-After that names a time."""

CORRUPT_BYTES = 2048
_COUNTS = "/-/counts"
_PLAN = "/-/plan"
_HOP = {
    *("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"),
    "content-encoding",  # the body has been decoded
}


class Plan(NamedTuple):
    """What happens to which share of the requests.

    Attributes:
        share: Share of the requests that a fault is injected into.
        faults: Faults to choose from, each as likely.
        seed: Of the choices; the n-th request's depends on nothing else.
        among: Numbers, from 1 on and half-open, of the requests that may be harmed.
        slow_seconds: How long a slow body takes.
        token_seconds: Age at which the `token` of the query, a time as `time.time()` tells it,
            expires; without one, 403. None asks for no token.
        rewrite: Pairs (address, address) to replace in JSON answers, as in STAC assets.
        only: Pattern of the paths that faults are injected into.
    """

    share: float = 0.2
    faults: tuple[str, ...] = FAULTS
    seed: int = 0
    among: tuple[int, int] = (1, sys.maxsize)
    slow_seconds: float = 0.5
    token_seconds: float | None = None
    rewrite: tuple[tuple[str, str], ...] = ()
    only: str = ""


class Faulty(NamedTuple):
    """A running proxy: the address that stands for the target's."""

    url: str

    def counts(self) -> Counter[str]:
        """How many requests came (`requests`), and how often each fault was injected."""
        with requests.Session() as session:
            session.trust_env = False
            return Counter(session.get(self.url + _COUNTS, timeout=5).json())

    def become(self, plan: Plan) -> None:
        """Follow another plan from the next request on, which is its first; count from zero."""
        with requests.Session() as session:
            session.trust_env = False
            session.post(self.url + _PLAN, json=plan._asdict(), timeout=5).raise_for_status()


@contextmanager
def faulty(target: str, plan: Plan) -> Iterator[Faulty]:
    """Stand between a server and its clients until the block ends.

    Args:
        target: The server's address, such as `http://127.0.0.1:8000`. Where JSON answers hold it,
            they get the proxy's instead.
        plan: What to do to them.
    """
    command = [sys.executable, __file__, target, json.dumps(plan._asdict())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http"), f"the proxy did not start: {url}"
            yield Faulty(url)
        finally:
            process.terminate()


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, plan: Plan) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target.rstrip("/")
        self.plan = plan
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.session = requests.Session()
        self.session.trust_env = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away when they are harmed."""

    def fault(self, path: str) -> str | None:
        with self.lock:
            self.counts["requests"] += 1
            n, plan = self.counts["requests"], self.plan
        if not re.search(plan.only, path) or not plan.among[0] <= n < plan.among[1]:
            return None
        chance = random.Random(f"{plan.seed}/{n}")  # noqa: S311 - not for secrets
        return chance.choice(plan.faults) if chance.random() < plan.share else None

    def count(self, fault: str) -> None:
        with self.lock:
            self.counts[fault] += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == _PLAN:
            self.server.plan, self.server.counts = _plan(sent.decode()), Counter()
            self._send(_Answer(200, {}, b""))
        elif self.path == _COUNTS:
            body = json.dumps(self.server.counts).encode()
            self._send(_Answer(200, {"Content-Type": "application/json"}, body))
        elif self._is_expired():
            self.server.count("expired")
            self._send(_Answer(403, {}, b"the token has expired"))
        else:
            self._harmed(self.server.fault(self.path), sent)

    def _is_expired(self) -> bool:
        if self.server.plan.token_seconds is None:
            return False
        token = parse_qs(urlsplit(self.path).query).get("token", ["0"])[0]
        return time.time() - float(token) > self.server.plan.token_seconds

    def _harmed(self, fault: str | None, sent: bytes) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {*_HOP, "host"}}
        asked = headers.get("Range")
        if fault in ("other-range", "shifted") and asked:
            headers["Range"] = _shifted(asked)
        if fault == "whole-file":
            headers.pop("Range", None)
        honest = self._forwarded(headers, sent)
        if fault == "shifted" and asked:
            honest = _claiming(honest, asked)
        if fault is None or not self._can_harm(fault, honest, asked):
            self._send(honest)
        else:
            self.server.count(fault)
            self._inject(fault, honest)

    def _forwarded(self, headers: dict[str, str], sent: bytes) -> _Answer:
        url = self.server.target + self.path
        answer = self.server.session.request(
            self.command, url, headers={"Accept-Encoding": "identity", **headers}, data=sent,
            allow_redirects=False, timeout=30,
        )  # fmt: skip
        kept = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in _HOP}
        body = answer.content
        if self.command == "HEAD":
            body = bytes(int(answer.headers.get("Content-Length", 0)))
        if "json" in kept.get("content-type", ""):
            for old, new in ((self.server.target, self.server.url), *self.server.plan.rewrite):
                body = body.replace(old.encode(), new.encode())
        return _Answer(answer.status_code, kept, body)

    def _can_harm(self, fault: str, honest: _Answer, asked: str | None) -> bool:
        if fault == "corrupt-tile":
            return asked is not None and len(honest.body) > CORRUPT_BYTES
        return asked is not None or fault not in ("other-range", "whole-file", "shifted")

    def _inject(self, fault: str, honest: _Answer) -> None:
        if fault[:3].isdigit():
            self._send(_Answer(int(fault[:3]), _waits(fault), b"try later"))
        elif fault == "redirect":
            self._send(_Answer(302, {"Location": "http://elsewhere.invalid/x?token=1"}, b""))
        elif fault == "reset":
            self._reset()
        elif fault in ("truncated", "slow"):
            self._drip(honest, is_whole=fault == "slow")
        elif fault == "corrupt-tile":
            self._send(honest._replace(body=_flipped(honest.body)))
        else:
            self._send(honest)

    def _send(self, answer: _Answer) -> None:
        self._head(answer)
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _head(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()

    def _drip(self, answer: _Answer, *, is_whole: bool) -> None:
        self._head(answer)
        half = len(answer.body) // 2
        with suppress(OSError):
            self.wfile.write(answer.body[:half])
            self.wfile.flush()
            if is_whole:
                time.sleep(self.server.plan.slow_seconds)
                self.wfile.write(answer.body[half:])
        self.close_connection = not is_whole

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _waits(fault: str) -> dict[str, str]:
    """Return the Retry-After header, if any, that asks to wait for a second or two."""
    waits = {
        "429-retry-after": "1",
        "429-retry-date": formatdate(time.time() + 2, usegmt=True),
    }
    return {"Retry-After": waits[fault]} if fault in waits else {}


def _bounds(asked: str) -> tuple[int, int]:
    start, stop = asked.removeprefix("bytes=").split("-")
    return int(start), int(stop)


def _shifted(asked: str) -> str:
    """Return a range of the same length a little way off."""
    start, stop = _bounds(asked)
    by = -16 if start >= 16 else 16
    return f"bytes={start + by}-{stop + by}"


def _claiming(answer: _Answer, asked: str) -> _Answer:
    """Return an answer that claims to be the range that was asked for."""
    start, stop = _bounds(asked)
    total = int(answer.headers["content-range"].rpartition("/")[2])
    claim = {"content-range": f"bytes {start}-{min(stop, total - 1)}/{total}"}
    return answer._replace(headers={**answer.headers, **claim})


def _flipped(body: bytes) -> bytes:
    at = len(body) * 7 // 8
    return body[:at] + bytes([body[at] ^ 16]) + body[at + 1 :]


def _plan(text: str) -> Plan:
    content: dict[str, Any] = json.loads(text)
    content["faults"], content["among"] = tuple(content["faults"]), tuple(content["among"])
    content["rewrite"] = tuple((old, new) for old, new in content["rewrite"])
    return Plan(**content)


if __name__ == "__main__":
    server = _Server(sys.argv[1], _plan(sys.argv[2]))
    print(server.url, flush=True)  # noqa: T201 - how the parent learns the address
    server.serve_forever()
