"""Who may ask a server on loopback, and what a page of it may load.

It answers GET, and only under its own name: a page of another site cannot reach it by a name that
it has pointed to 127.0.0.1 (DNS rebinding).
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")

NEVER = "no-store"
"""How long an answer may be kept that depends on what is shown."""

HEADERS: Final = {
    # `blob:` is what MapLibre makes of tiles, `data:` are the icons of its style sheet.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets only GET requests pass that name this server, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if Headers(scope=scope).get("host") not in self._hosts:
            return refusal(421, f"this server answers only to {' and '.join(sorted(self._hosts))}")
        if scope["method"] != "GET":
            return refusal(405, "only GET is answered")
        return None


def refusal(status: int, text: str) -> Response:
    """Return an answer of one line."""
    return PlainTextResponse(f"{text}\n", status, headers={"Cache-Control": NEVER})
