"""Asking a STAC API for items, in pieces that it can answer whole."""

import json
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pystac
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning

from sscl_geo.errors import CatalogError, brief
from sscl_geo.frozen import Frozen, canonical_json
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period, split
from sscl_geo.io.transport import Request, Transport, joined

MAX_PAGES = 20
"""Pages of one search; a piece with more is quartered. Long chains of pages time out."""

MAX_ITEMS = 2_000_000
MAX_QUARTERINGS = 10

Raw = dict[str, Any]


class Query(Frozen):
    """What is asked of a catalogue; its digest names the question.

    Attributes:
        address: Landing page of the API.
        collections: STAC collection ids.
        boxes: The area in degrees, none over the antimeridian.
        interval: The days wanted.
        page_items: Items that one page asks for.
        step: Length of time of one piece of the search, ISO 8601.
    """

    address: str
    collections: tuple[str, ...]
    boxes: tuple[BBox, ...]
    interval: Period
    page_items: int = 250
    step: str = "P1M"


class _TooLong(Exception):  # noqa: N818 - a turn of the search, never seen outside
    """A piece has more items than its chain of pages may hold."""


def api_items(query: Query, private_hosts: tuple[str, ...] = ()) -> Iterator[Raw]:
    """Yield the items of an API that meet a query, each once, in the order of its answers.

    The query is asked month by month and box by box; no more than one piece is held at a time. The
    API's name may lead into a private network only if it is among `private_hosts`.

    Raises:
        CatalogError: The API cannot be reached, does not answer as one, names another server, runs
            in circles, holds back items that it counted, or has more than `MAX_ITEMS`.
    """
    try:
        yield from _each_once(_Api(query, private_hosts))
    except (APIError, pystac.STACError, pystac.STACTypeError, ClientTypeError) as error:
        raise CatalogError(brief(error)) from None


def _each_once(api: "_Api") -> Iterator[Raw]:
    query = api.query
    seen = set[tuple[str, str]]()
    for month in split(query.interval, query.step):
        for box in query.boxes:
            for item in api.piece(box, month, MAX_QUARTERINGS):
                if _key(item) not in seen:
                    yield item
                seen.add(_key(item))
                if len(seen) > MAX_ITEMS:
                    raise CatalogError(
                        f"more than {MAX_ITEMS} items; ask for a smaller --bbox or --datetime"
                    )


class _Guarded(StacApiIO):
    """pystac-client's way to the server, on our transport: one origin, patience, no circles."""

    def __init__(self, address: str, private_hosts: tuple[str, ...]) -> None:
        super().__init__()
        self._transport = Transport(address, private_hosts=private_hosts)
        self._asked = set[str]()

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - none but the transport's are sent
        parameters: Raw | None = None,
    ) -> str:
        if (method or "GET").upper() == "POST":
            request = Request(href, parameters or {})
        elif parameters:
            flat = {k: ",".join(map(str, v)) if _is_list(v) else v for k, v in parameters.items()}
            request = Request(f"{href}{'&' if '?' in href else '?'}{urlencode(flat)}")
        else:
            request = Request(href)
        if canonical_json(request) in self._asked:
            raise CatalogError("its `next` link leads back to a page that was read already")
        self._asked.add(canonical_json(request))
        return json.dumps(self._transport.ask(request).content)

    def get_pages(
        self, url: str, method: str | None = None, parameters: Raw | None = None
    ) -> Iterator[Raw]:
        """Yield the pages of one search; a page may be empty and still name the next."""
        self._asked.clear()
        page: Raw = self.read_json(url, method=method, parameters=parameters)
        yield page
        while link := next((link for link in _links(page) if link.get("rel") == "next"), None):
            absolute = {**link, "href": joined(url, str(link.get("href")))}
            page = self.read_json(pystac.Link.from_dict(absolute), parameters=parameters)
            yield page


class _Api:
    """A search endpoint, found through the landing page."""

    def __init__(self, query: Query, private_hosts: tuple[str, ...]) -> None:
        self.query = query
        self._server = _Guarded(query.address, private_hosts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PystacClientWarning)
            self._client = Client.open(query.address, stac_io=self._server)
        methods = {str(link.extra_fields.get("method", "GET")) for link in self._searches()}
        if not methods:
            raise CatalogError("its landing page has no link to a search; is it a STAC API?")
        self._method = "POST" if "POST" in methods else "GET"

    def _searches(self) -> list[pystac.Link]:
        return [link for link in self._client.links if link.rel == "search"]

    def piece(self, box: BBox, month: Period, quarterings: int) -> Iterator[Raw]:
        """Yield the items of a box and month, by quarters where they are too many for one."""
        try:
            yield from self._whole(box, month)
        except _TooLong:
            if quarterings == 0:
                raise CatalogError(
                    f"more than {MAX_PAGES} pages of items in {_told(box)} and {month.name}"
                ) from None
            for quarter in _quarters(box):
                yield from self.piece(quarter, month, quarterings - 1)

    def _whole(self, box: BBox, month: Period) -> list[Raw]:
        """Return the items of one chain of pages, as many as the API counts; it is asked twice."""
        for _ in range(2):
            pages = list(self._pages(box, month))
            items = {_key(item): item for page in pages for item in _features(page)}
            counted = _matched(pages[0])
            if counted is None or counted == len(items):
                return [*items.values()]
        raise CatalogError(
            f"it counts {counted} items in {_told(box)} and {month.name} but gives {len(items)}"
        )

    def _pages(self, box: BBox, month: Period) -> Iterator[Raw]:
        search = self._client.search(
            method=self._method,
            collections=list(self.query.collections),
            bbox=list(box),
            datetime=f"{month.start.isoformat()}T00:00:00Z/{month.end.isoformat()}T00:00:00Z",
            limit=self.query.page_items,
        )
        # Not `search.pages_as_dicts`, which takes an empty page for the last.
        pages = self._server.get_pages(search.url, search.method, search.get_parameters())
        for number, page in enumerate(pages, 1):
            counted = _matched(page) or 0
            if number > MAX_PAGES or counted > MAX_PAGES * self.query.page_items:
                raise _TooLong
            yield page


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _matched(page: Raw) -> int | None:
    context = page.get("context")
    old = context.get("matched") if isinstance(context, dict) else None
    counted = page.get("numberMatched", old)
    return counted if isinstance(counted, int) else None


def _links(page: Raw) -> list[Raw]:
    links = page.get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def _features(page: Raw) -> list[Raw]:
    features = page.get("features")
    if not isinstance(features, list) or not all(isinstance(item, dict) for item in features):
        raise CatalogError("an answer to a search is not a GeoJSON FeatureCollection")
    return features


def _key(item: Raw) -> tuple[str, str]:
    return str(item.get("collection")), str(item.get("id"))


def _told(box: BBox) -> str:
    return "box " + " ".join(f"{side:g}" for side in box)


def _quarters(box: BBox) -> tuple[BBox, ...]:
    x, y = (box.west + box.east) / 2, (box.south + box.north) / 2
    return (
        BBox(box.west, box.south, x, y),
        BBox(x, box.south, box.east, y),
        BBox(box.west, y, x, box.north),
        BBox(x, y, box.east, box.north),
    )
