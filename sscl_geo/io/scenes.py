"""What STAC items become: scenes, or an error that says why not."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from sscl_geo.errors import CatalogError, InvalidInputError
from sscl_geo.frozen import parse
from sscl_geo.geo.footprint import footprint
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.items import Item, asset_href, parse_item, present
from sscl_geo.io.offsets import OffsetDecision, baseline_of, decide
from sscl_geo.io.products import check_optical, check_radar
from sscl_geo.io.profile import SensorSource, Source

_DATATAKE = re.compile(r"(?:GS2[A-Z]|MSIL2A)_(\d{8}T\d{6})_")
_TILE = re.compile(r"(?:^|[_-])T?(\d{1,2}[C-X][A-Z]{2})(?=_|-|$)")
_TILE_FIELDS = ("s2:mgrs_tile", "grid:code", "sentinel:mgrs", "s2:product_uri")
_DATATAKE_FIELDS = ("s2:datatake_id", "eopf:datatake_id", "s2:product_uri", "sentinel:product_id")


def to_scene(raw: object, sensor: Sensor, place: SensorSource, source: Source) -> Scene:
    """Return an item (JSON) as a scene, its DN convention decided by metadata alone.

    Raises:
        CatalogError: The item lacks a band or its time, is of another product, or does not tell its
            DN convention.
        UntrustedHrefError: An asset's address is not one that the catalogue may name.
    """
    item = parse_item(raw)
    _check_product(item, sensor, place)
    hrefs = {
        band: asset_href(item, keys, place.media_types, source)
        for band, keys in place.assets.items()
    }
    offset = _offset(item, sensor, place)
    mask = place.mask and next(present(item, place.mask), None)
    fields = {
        "id": item.id,
        "collection": item.collection or "",
        "sensor": sensor.name,
        "datetime": item.moment,
        "bbox": item.box,
        "hrefs": tuple(hrefs.items()),
        "mask_href": asset_href(item, mask, place.media_types, source) if mask else None,
        "harmonise": offset.harmonise,
        "witness": offset.witness,
        "confidence": offset.confidence,
        "orbit": str(item.properties.get("sat:orbit_state") or "unknown").lower(),
        "relative_orbit": item.properties.get("sat:relative_orbit"),
        "footprint": footprint(item.geometry),
        "platform": str(item.properties.get("platform") or "").lower(),
        "checksums": tuple(_checksums(item, place)),
        **(_optical_fields(item) if sensor.kind == "optical" else _radar_fields(item)),
    }
    try:
        return parse(Scene, fields, "the item")
    except InvalidInputError as error:
        raise CatalogError(str(error)) from None


def _check_product(item: Item, sensor: Sensor, place: SensorSource) -> None:
    if sensor.kind == "sar":
        check_radar(item.properties, place.product_types or sensor.product_types)
    else:
        check_optical(item.properties, f"{item.id} {item.collection or ''}")


def _optical_fields(item: Item) -> dict[str, object]:
    named = {**item.properties, "id": item.id}
    cover = item.properties.get("eo:cloud_cover")
    return {
        "tile": _tile(named),
        "baseline": baseline_of(named),
        "datatake": _match(_DATATAKE, named, (*_DATATAKE_FIELDS, "id")) or _compact(item.moment),
        "cloud_cover": cover if isinstance(cover, int | float) else None,
    }


def _radar_fields(item: Item) -> dict[str, object]:
    number = item.properties.get("s1:datatake_id")
    return {"datatake": str(number) if number is not None else _compact(item.moment)}


def _offset(item: Item, sensor: Sensor, place: SensorSource) -> OffsetDecision:
    if sensor.kind == "sar":
        return OffsetDecision(0, "", "")
    key = next(present(item, next(iter(place.assets.values()))))
    if item.collection is None and place.offset_rules:
        raise CatalogError(
            "the item names no collection, and its catalogue's collections differ in DN convention"
        )
    rule = place.offset_rule(item.collection or "")
    named = {**item.properties, "id": item.id}
    return decide(named, item.assets[key].model_dump(), rule.witnesses)


def _checksums(item: Item, place: SensorSource) -> Iterator[tuple[str, str]]:
    for band, keys in place.assets.items():
        checksum = item.assets[next(present(item, keys))].field("file:checksum")
        if checksum is not None:
            yield band, str(checksum)


def _tile(named: Mapping[str, object]) -> str | None:
    for prefix in ("mgrs", "sentinel"):
        fields = ("utm_zone", "latitude_band", "grid_square")
        parts = [named.get(f"{prefix}:{field}") for field in fields]
        if all(parts):
            return "".join(map(str, parts)).zfill(5)
    told = _match(_TILE, named, (*_TILE_FIELDS, "id"))
    return told.zfill(5) if told else None


def _match(pattern: re.Pattern[str], named: Mapping[str, object], keys: tuple[str, ...]) -> str:
    matches = (pattern.search(str(named.get(key) or "")) for key in keys)
    return next((match[1] for match in matches if match), "")


def _compact(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%S")
