"""The server of one page; no part of a request becomes the path of a file."""

import math
import re
import socket
import sys
from functools import partial
from importlib.resources import files
from typing import Final, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sscl_geo.errors import InvalidInputError, SsclGeoError
from sscl_geo.geo.bbox import BBox, checked_bbox
from sscl_geo.geo.graticule import WebTile
from sscl_geo.io.maps import LANDCOVER
from sscl_geo.stages.view.areas import hectares_in
from sscl_geo.stages.view.facts import Facts, page_facts, place_facts
from sscl_geo.stages.view.guard import HOST, NEVER, Guard, refusal
from sscl_geo.stages.view.layers import layers, remembered
from sscl_geo.stages.view.opening import Shown, ShownMap

FRESH, KEPT = "no-cache", "private, max-age=86400"
"""Of the page's files, and of tiles whose address names a store that does not change."""

_NUMBER = re.compile(r"[0-9]{1,8}")


class Asset(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str


ASSETS: Final = {
    "page.html": "text/html",
    "view.css": "text/css",
    "view.js": "text/javascript",
    "maplibre/maplibre-gl.css": "text/css",
    "maplibre/maplibre-gl.mjs": "text/javascript",
    "maplibre/maplibre-gl-worker.mjs": "text/javascript",
    "maplibre/LICENSE.txt": "text/plain",
}
"""The page's own files, and those of MapLibre GL JS 6.17.0 as npm has them (BSD 3-Clause)."""


class Page:
    """The answers to the requests of a page.

    Args:
        shown: What it shows.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._layers = layers(shown)
        is_final = shown.is_final
        self._tile = remembered(self._layers) if is_final else lambda n, t: self._layers[n].tile(t)
        self._caching = KEPT if is_final else NEVER
        root = files("sscl_geo.stages.view") / "static"
        self._assets = {
            name: Asset((root / name).read_bytes(), kind) for name, kind in ASSETS.items()
        }

    @property
    def routes(self) -> list[Route]:
        """What is answered where."""
        pages = [Route(f"/{name}", partial(_asset, asset)) for name, asset in self._assets.items()]
        return [
            Route("/", partial(_asset, self._assets["page.html"])),
            *pages,
            Route("/facts.json", self.facts),
            Route("/tiles/{layer}/{z}/{x}/{y}.png", self.tile),
            Route("/place", self.place),
            Route("/areas", self.areas),
        ]

    def facts(self, _: Request) -> Response:
        """Answer what the page needs to know first."""
        return _json(page_facts(self._shown, self._layers))

    def tile(self, request: Request) -> Response:
        """Answer a tile."""
        layer = self._layers.get(request.path_params["layer"])
        tile = WebTile(*(_integer(request.path_params[axis]) for axis in "zxy"))
        if layer is None or not tile.is_real:
            raise HTTPException(404, "there is no such tile")
        if tile.z < layer.least_zoom:
            raise HTTPException(404, f"{layer.id} begins at zoom {layer.least_zoom}; zoom in")
        content = self._tile(layer.id, tile)
        return Response(content, media_type="image/png", headers={"Cache-Control": self._caching})

    def place(self, request: Request) -> Response:
        """Answer what the maps say of a place."""
        longitude, latitude = (_degrees(request, name) for name in ("longitude", "latitude"))
        if not -180 <= longitude < 180 or not -90 <= latitude <= 90:  # noqa: PLR2004
            raise HTTPException(400, "longitude must be within -180..180, latitude -90..90")
        return _json(place_facts(self._shown, longitude, latitude))

    def areas(self, request: Request) -> Response:
        """Answer the hectares of each map's classes in a box."""
        box = checked_bbox(*(_degrees(request, name) for name in BBox._fields))
        return _json({"maps": [_measured(mapped, box) for mapped in self._shown.maps]})


def _measured(mapped: ShownMap, box: BBox) -> Facts:
    found = hectares_in(mapped.layers[LANDCOVER], box)
    hectares = {str(value): float(found.values[value]) for value in mapped.legend.values}
    return {"hectares": hectares, "gsd": found.gsd, "is_exact": found.is_exact}


def application(shown: Shown, port: int) -> Guard:
    """Return the server of a page on a port."""
    handlers = {
        HTTPException: _refused,
        InvalidInputError: _bad,
        SsclGeoError: _failed,
        Exception: _failed,
    }
    return Guard(Starlette(routes=Page(shown).routes, exception_handlers=handlers), port)


def listening(port: int) -> socket.socket:
    """Return a socket that listens on loopback.

    Args:
        port: The port; 0 takes a free one.

    Raises:
        InvalidInputError: The port is in use, or is none.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidInputError(
            f"--port {port}: {HOST}:{port} cannot be listened on ({error}); name another, or 0 for "
            "a free one"
        ) from None
    return listener


def server(shown: Shown, port: int) -> uvicorn.Server:
    """Return what serves a page; call its `run` with a socket."""
    config = uvicorn.Config(
        application(shown, port),
        # What goes wrong is told in one line.
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _asset(asset: Asset, _: Request) -> Response:
    headers = {"Cache-Control": FRESH}
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def _json(content: Facts) -> Response:
    return JSONResponse(content, headers={"Cache-Control": NEVER})


def _integer(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise HTTPException(400, "z, x and y must be whole numbers")
    return int(text)


def _degrees(request: Request, name: str) -> float:
    try:
        number = float(request.query_params[name])
    except (KeyError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise HTTPException(400, f"{name} must be a number of degrees")
    return number


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    return refusal(error.status_code, error.detail)


def _bad(_: Request, error: Exception) -> Response:
    return refusal(400, str(error))


def _failed(_: Request, error: Exception) -> Response:
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    print(f"error: {text}", file=sys.stderr)  # noqa: T201 - the user's terminal
    return refusal(500, "this could not be read; the terminal of sscl-geo view tells why")
