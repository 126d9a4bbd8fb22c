"""Searching a catalogue: items in, scenes out, each item taken or refused with a cause."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sscl_geo.errors import CatalogError, ReadError, SsclGeoError, UntrustedHrefError
from sscl_geo.geo.bbox import BBox, meet
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene, newest
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.items import parse_item
from sscl_geo.io.profile import SensorSource, Source, is_url
from sscl_geo.io.scenes import to_scene
from sscl_geo.io.search import Query, api_items
from sscl_geo.io.signing import signer
from sscl_geo.io.static import static_items
from sscl_geo.io.trust import redacted
from sscl_geo.io.witness import witnessed

__all__ = ["Found", "Refusal", "items", "query", "search", "to_scene"]

_log = logging.getLogger(__name__)

THREADS = 8
"""Scenes whose pixels are asked at once."""


class Refusal(NamedTuple):
    """An item that is not used, and why."""

    item: str
    cause: str


class Found(NamedTuple):
    """The result of a search for one sensor."""

    scenes: tuple[Scene, ...]
    refusals: tuple[Refusal, ...]

    @property
    def causes(self) -> dict[str, int]:
        """Number of refused items by cause, the most frequent first."""
        return dict(Counter(refusal.cause for refusal in self.refusals).most_common())


def search(
    source: Source,
    sensor: Sensor,
    area: BBox | tuple[BBox, ...],
    interval: Period,
    *,
    is_wanted: Callable[[Scene], bool] = lambda _: True,
    ask_pixels: bool = False,
) -> Found:
    """Return the scenes of a sensor that meet an area within an interval, by time and id.

    Of one datatake and tile only the newest is kept, from the first collection that has it.

    Args:
        source: The catalogue.
        sensor: The sensor.
        area: One box or several; each may cross the antimeridian.
        interval: The days wanted.
        is_wanted: Says which scenes of the area to keep, before their pixels are asked.
        ask_pixels: Whether pixels must confirm the DN convention of optical scenes. It reads three
            overviews of each.

    Raises:
        CatalogError: The catalogue cannot be reached or does not answer as a STAC API.
        ReadError: The pixels of a scene could not be asked now; it is not left out for that. Where
            they never can be, its metadata decide.
    """
    place = source.profile.sensors.get(sensor.name)
    if place is None:
        return Found((), ())
    boxes = (area,) if isinstance(area, BBox) else area
    scenes, refusals = [], []
    for raw in items(source, query(source, place.collections, boxes, interval)):
        try:
            scenes.append(to_scene(raw, sensor, place, source))
        except SsclGeoError as error:
            refusals.append(Refusal(str(raw.get("id")), str(error)))
    kept = newest((s for s in scenes if _meets(s, boxes, interval)), place.collections)
    kept = tuple(filter(is_wanted, kept))
    if not ask_pixels or sensor.kind == "sar":
        return Found(kept, tuple(refusals))
    judged = _by_pixels(kept, place, source)
    return Found(
        tuple(one for one in judged if isinstance(one, Scene)),
        (*refusals, *(one for one in judged if isinstance(one, Refusal))),
    )


def query(
    source: Source, collections: tuple[str, ...], boxes: Iterable[BBox], interval: Period
) -> Query:
    """Return what a search asks; its digest is the search's identity."""
    return Query(
        address=source.address,
        collections=collections,
        boxes=tuple(part for box in boxes for part in box.split()),
        interval=interval,
        page_items=source.profile.page_items,
    )


def items(source: Source, asked: Query) -> Iterator[dict[str, Any]]:
    """Yield the items (JSON) of a catalogue that meet a query.

    Raises:
        CatalogError: The catalogue cannot be reached or does not answer as a STAC API.
    """
    if is_url(source.address):
        try:
            yield from api_items(asked, source.profile.private_hosts)
        except CatalogError as error:
            raise CatalogError(
                f"catalogue {redacted(source.address)} cannot be searched: {error}; check the "
                "address and the network, or name another --catalog"
            ) from None
        return
    for raw in static_items(source.address, asked.collections):
        if _is_asked(raw, asked):
            yield raw


def _is_asked(raw: dict[str, Any], asked: Query) -> bool:
    """Whether an API would answer with the item: its time, from start to end, meets the interval.

    One without a place or time is for `to_scene`.
    """
    try:
        item = parse_item(raw)
        box, first, last = item.box, item.start.date(), item.end.date()
    except CatalogError:
        return True
    is_then = first < asked.interval.end and last >= asked.interval.start
    return is_then and any(meet(box, part) for part in asked.boxes)


def _meets(scene: Scene, boxes: Iterable[BBox], interval: Period) -> bool:
    return scene.datetime in interval and any(scene.overlaps(box) for box in boxes)


def _by_pixels(
    scenes: tuple[Scene, ...], place: SensorSource, source: Source
) -> tuple[Scene | Refusal, ...]:
    sign = signer(source.profile.signing, source.profile.private_hosts)

    def judge(scene: Scene) -> Scene | Refusal:
        try:
            return witnessed(scene, place.offset_rule(scene.collection), sign)
        except (CatalogError, UntrustedHrefError) as error:
            return Refusal(scene.id, str(error))
        except ReadError as error:
            if not error.is_permanent:
                raise
            # Its tiles will tell, or leave it out as --max-unreadable says.
            _log.warning("%s: its pixels cannot be asked, metadata decide: %s", scene.id, error)
            return scene

    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(pool.map(judge, scenes))
