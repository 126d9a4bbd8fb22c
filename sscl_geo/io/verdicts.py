"""Whether items of a file would be used, and why not: what `sscl-geo catalog check` tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sscl_geo.errors import CatalogError, InvalidInputError, SsclGeoError, brief
from sscl_geo.frozen import read_json
from sscl_geo.io.items import Item, parse_item
from sscl_geo.io.layers import to_layer
from sscl_geo.io.products import check_optical, check_radar
from sscl_geo.io.profile import Source, profile_named
from sscl_geo.io.scenes import to_scene
from sscl_geo.sensors import sensor_of

Verdict = dict[str, str | None]


def check_file(path: Path, profile: str) -> Iterator[Verdict]:
    """Yield each item's `id`, `verdict` (`accepted` or `refused`) and, where refused, `cause`.

    Args:
        path: A GeoJSON FeatureCollection of STAC items, a list of items, or one item.
        profile: Name or YAML file of a profile.

    Raises:
        InvalidInputError: The file is none of these, or there is no such profile.
    """
    known = profile_named(profile)
    source = Source(profile=known, address=known.url or str(path))
    for raw in _items_of(path):
        named = raw.get("id") if isinstance(raw, dict) else None
        told: Verdict = {"id": named if named is None else str(named)}
        try:
            _take(raw, source)
        except SsclGeoError as error:
            yield told | {"verdict": "refused", "cause": str(error)}
        else:
            yield told | {"verdict": "accepted"}


def _items_of(path: Path) -> list[Any]:
    try:
        content = read_json(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {brief(error)}") from None
    if isinstance(content, dict):
        return content["features"] if isinstance(content.get("features"), list) else [content]
    if isinstance(content, list):
        return content
    raise InvalidInputError(f"{path}: give a FeatureCollection, a list of items, or one item")


def _take(raw: object, source: Source) -> None:
    item = parse_item(raw)
    takers = [*_sensor_names(item, source)]
    layers = [
        layer for layer in source.profile.layers.values() if layer.collection == item.collection
    ]
    if layers:
        to_layer(raw, layers[0], source)
    elif len(takers) == 1:
        to_scene(raw, sensor_of(takers[0]), source.profile.sensors[takers[0]], source)
    else:
        _refuse(item, source)


def _sensor_names(item: Item, source: Source) -> Iterator[str]:
    """Yield the sensors that an item's collection is of; one without is taken by its assets."""
    for name, place in source.profile.sensors.items():
        keys = next(iter(place.assets.values()))
        first = {keys} if isinstance(keys, str) else {*keys}
        is_alike = item.collection is None and not first.isdisjoint(item.assets)
        if item.collection in place.collections or is_alike:
            yield name


def _refuse(item: Item, source: Source) -> None:
    """Raise why no sensor or layer takes an item: its product, or else its collection."""
    if any(name.startswith("sar:") for name in item.properties):
        check_radar(item.properties, ("RTC", "rtc"))
    check_optical(item.properties, f"{item.id} {item.collection or ''}")
    places = [*source.profile.sensors.values()]
    known = [name for place in places for name in place.collections]
    known += [layer.collection for layer in source.profile.layers.values()]
    raise CatalogError(
        f"collection {item.collection or 'unknown'!r} is not in profile "
        f"{source.profile.name!r}, which has {', '.join(known)}"
    )
