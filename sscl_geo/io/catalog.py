"""Searching STAC: items in, scenes out, each item taken or refused with a cause."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pystac
import requests
from pystac.errors import STACTypeError
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry

from sscl_geo.errors import CatalogError, InvalidInputError, SsclGeoError
from sscl_geo.frozen import parse
from sscl_geo.geo.bbox import BBox, meet
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.offsets import OffsetDecision, decide
from sscl_geo.io.profile import SensorSource, Source, is_url
from sscl_geo.io.trust import checked_href

PAGE = 100
_BOX_LENGTHS = (4, 6)
TIMEOUT = (10, 60)
"""Seconds to connect and to wait for bytes."""


class Refusal(NamedTuple):
    """An item that is not used, and why."""

    item: str
    cause: str


class Found(NamedTuple):
    """The result of a search for one sensor."""

    scenes: tuple[Scene, ...]
    refusals: tuple[Refusal, ...]


def search(source: Source, sensor: Sensor, bbox: BBox, interval: Period) -> Found:
    """Return the scenes of a sensor that meet a box within an interval, by time and id.

    Raises:
        CatalogError: The catalogue cannot be reached or does not answer as a STAC API.
    """
    place = source.profile.sensors.get(sensor.name)
    if place is None:
        return Found((), ())
    scenes, refusals = [], []
    for item in _items(source, place.collections, bbox, interval):
        try:
            scenes.append(to_scene(item, sensor, place, source))
        except SsclGeoError as error:
            refusals.append(Refusal(item.id, str(error)))
    kept = (scene for scene in scenes if scene.overlaps(bbox) and scene.datetime in interval)
    ordered = sorted({scene.id: scene for scene in kept}.values(), key=lambda s: (s.datetime, s.id))
    return Found(tuple(ordered), tuple(refusals))


def to_scene(item: pystac.Item, sensor: Sensor, place: SensorSource, source: Source) -> Scene:
    """Return an item as a scene.

    Raises:
        CatalogError: The item lacks a band or its time, is of another product, or does not tell its
            DN convention.
        UntrustedHrefError: An asset's address is not one that the catalogue may name.
    """
    if item.datetime is None or len(item.bbox or ()) not in _BOX_LENGTHS:
        raise CatalogError("the item has no datetime or no bbox of four or six numbers")
    _check_product(item.properties, sensor, place)
    hrefs = tuple((band, _href(item, key, source)) for band, key in place.assets.items())
    offset = _offset(item, sensor, place)
    fields = {
        "id": item.id,
        "collection": item.collection_id or "",
        "sensor": sensor.name,
        "datetime": item.datetime,
        "bbox": _flat(item.bbox or []),
        "hrefs": hrefs,
        "mask_href": _href(item, place.mask, source) if place.mask in item.assets else None,
        "harmonise": offset.harmonise,
        "witness": offset.witness,
        "orbit": str(item.properties.get("sat:orbit_state") or "unknown"),
        "relative_orbit": item.properties.get("sat:relative_orbit"),
    }
    try:
        return parse(Scene, fields, "the item")
    except InvalidInputError as error:
        raise CatalogError(str(error)) from None


def _check_product(properties: Mapping[str, object], sensor: Sensor, place: SensorSource) -> None:
    product = str(properties.get("sar:product_type") or "")
    if sensor.kind == "sar" and product not in (place.product_types or sensor.product_types):
        raise CatalogError(f"product type {product!r} is not {sensor.name}")


def _offset(item: pystac.Item, sensor: Sensor, place: SensorSource) -> OffsetDecision:
    if sensor.kind == "sar":
        return OffsetDecision(0, "")
    asset = item.assets[next(iter(place.assets.values()))]
    return decide(item.properties, asset.to_dict(), place.offset_witnesses)


def _href(item: pystac.Item, key: str | None, source: Source) -> str:
    if key not in item.assets:
        raise CatalogError(f"the item has no asset {key!r}")
    address = item.assets[key].get_absolute_href() or item.assets[key].href
    return checked_href(address, source.hosts, source.root)


def _flat(bbox: list[float]) -> tuple[float, float, float, float]:
    west, south, east, north = bbox if len(bbox) == 4 else (bbox[0], bbox[1], bbox[3], bbox[4])  # noqa: PLR2004 - a box with heights has six numbers
    return west, south, east, north


def _items(
    source: Source, collections: tuple[str, ...], bbox: BBox, interval: Period
) -> Iterator[pystac.Item]:
    if not is_url(source.address):
        yield from _static_items(source.address, collections, bbox, interval)
        return
    try:
        client = Client.open(source.address, stac_io=_transport())
        for box in bbox.split():
            yield from client.search(
                collections=list(collections), bbox=box, datetime=_rfc3339(interval), limit=PAGE
            ).items()
    except (APIError, requests.RequestException, pystac.STACError, ValueError, KeyError) as error:
        raise CatalogError(
            f"catalogue {source.address} cannot be searched: {_brief(error)}; check the "
            "address and the network, or name another --catalog"
        ) from None


def _static_items(
    path: str, collections: tuple[str, ...], bbox: BBox, interval: Period
) -> Iterator[pystac.Item]:
    try:
        catalog = pystac.Catalog.from_file(path)
        for item in catalog.get_items(recursive=True):
            if item.collection_id in collections and _meets(item, bbox, interval):
                yield item
    except (
        OSError,
        pystac.STACError,
        STACTypeError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        raise CatalogError(f"{path} cannot be read as a STAC catalogue: {_brief(error)}") from None


def _meets(item: pystac.Item, bbox: BBox, interval: Period) -> bool:
    """Whether an API would answer with the item; one without a place or time is for `to_scene`."""
    if item.datetime is None or len(item.bbox or ()) not in _BOX_LENGTHS:
        return True
    return meet(BBox(*_flat(item.bbox or [])), bbox) and item.datetime in interval


def _transport() -> StacApiIO:
    # urllib3 does not retry POST, which STAC searches are, unless it is told to retry any method.
    retry = Retry(
        total=5,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist=[429, 500, 502, 503, 504],
        allowed_methods=None,
        respect_retry_after_header=True,
        connect=1,
    )
    return StacApiIO(timeout=TIMEOUT, max_retries=retry)


def _rfc3339(interval: Period) -> str:
    return f"{interval.start.isoformat()}T00:00:00Z/{interval.end.isoformat()}T00:00:00Z"


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
