"""Asking a STAC API for items, in pieces that it can answer whole."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from sscl_geo.errors import CatalogError
from sscl_geo.frozen import Frozen, canonical_json
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period, split
from sscl_geo.io.transport import Request, Transport, joined

MAX_PAGES = 20
"""Pages of one search; a piece with more is quartered. Long chains of pages time out."""

MAX_ITEMS = 200_000
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
    """

    address: str
    collections: tuple[str, ...]
    boxes: tuple[BBox, ...]
    interval: Period
    page_items: int = 250


class _TooLong(Exception):  # noqa: N818 - a turn of the search, never seen outside
    """A piece has more items than its chain of pages may hold."""


def api_items(query: Query) -> Iterator[Raw]:
    """Yield the items of an API that meet a query, each once, in the order of its answers.

    The query is asked month by month and box by box; no more than one piece is held at a time.

    Raises:
        CatalogError: The API cannot be reached, does not answer as one, names another server, runs
            in circles, holds back items that it counted, or has more than `MAX_ITEMS`.
    """
    api = _Api(query)
    seen = set[tuple[str, str]]()
    for month in split(query.interval, "P1M"):
        for box in query.boxes:
            for item in api.piece(box, month, MAX_QUARTERINGS):
                if _key(item) not in seen:
                    yield item
                seen.add(_key(item))
                if len(seen) > MAX_ITEMS:
                    raise CatalogError(
                        f"more than {MAX_ITEMS} items; ask for a smaller --bbox or --datetime"
                    )


class _Api:
    """A search endpoint, found through the landing page."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._transport = Transport(query.address)
        landing = self._transport.ask(Request(query.address)).content
        links = [link for link in _links(landing) if link.get("rel") == "search"]
        if not links:
            raise CatalogError("its landing page has no link to a search; is it a STAC API?")
        by_method = {str(link.get("method") or "GET").upper(): link for link in links}
        self._is_post = "POST" in by_method
        chosen = by_method.get("POST") or links[0]
        self._href = joined(query.address, str(chosen.get("href")))

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
            pages = list(self._pages(self._first(box, month)))
            items = {_key(item): item for page in pages for item in _features(page)}
            counted = _matched(pages[0])
            if counted is None or counted == len(items):
                return [*items.values()]
        raise CatalogError(
            f"it counts {counted} items in {_told(box)} and {month.name} but gives {len(items)}"
        )

    def _pages(self, first: Request) -> Iterator[Raw]:
        seen = set[str]()
        request: Request | None = first
        while request is not None:
            seen.add(canonical_json(request))
            page = self._transport.ask(request).content
            counted = _matched(page) or 0
            if len(seen) > MAX_PAGES or counted > MAX_PAGES * self._query.page_items:
                raise _TooLong
            yield page
            request = _next(page, request)
            if request is not None and canonical_json(request) in seen:
                raise CatalogError("its `next` link leads back to a page that was read already")

    def _first(self, box: BBox, month: Period) -> Request:
        body: dict[str, object] = {
            "collections": list(self._query.collections),
            "bbox": list(box),
            "datetime": f"{month.start.isoformat()}T00:00:00Z/{month.end.isoformat()}T00:00:00Z",
            "limit": self._query.page_items,
        }
        if self._is_post:
            return Request(self._href, body)
        flat = body | {
            "collections": ",".join(self._query.collections),
            "bbox": ",".join(map(str, box)),
        }
        return Request(f"{self._href}{'&' if '?' in self._href else '?'}{urlencode(flat)}")


def _next(page: Raw, asked: Request) -> Request | None:
    """Return what a page's `next` link asks (STAC API 1.0, section on paging); None at the end."""
    link = next((link for link in _links(page) if link.get("rel") == "next"), None)
    if link is None:
        return None
    href = joined(asked.href, str(link.get("href")))
    if str(link.get("method") or "GET").upper() != "POST":
        return Request(href)
    body = link.get("body")
    fields = body if isinstance(body, dict) else {}
    return Request(href, {**(asked.body or {}), **fields} if link.get("merge") else fields)


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
