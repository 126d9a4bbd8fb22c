"""What a page tells of what it shows: as a whole, at a place, and in a part."""

from typing import Any

import numpy as np

from sscl_geo.geo.graticule import Graticule
from sscl_geo.geo.grid import GSD
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.maps import CONFIDENCE, COUNTS, LANDCOVER, MARGIN, PROBABILITY, SECOND
from sscl_geo.stages.view.layers import Layer
from sscl_geo.stages.view.opening import Shown, ShownMap
from sscl_geo.stages.view.painting import ramp

RAMP_STEPS = 11

Facts = dict[str, Any]
"""Whatever JSON can say."""


def page_facts(shown: Shown, layers: dict[str, Layer]) -> Facts:
    """Return what a page needs to know before it asks for the first tile."""
    return {
        "maps": [_map_facts(number, mapped, layers) for number, mapped in enumerate(shown.maps)],
        "imagery": [
            {"name": imagery.name, "period": imagery.period, **_source(f"imagery-{n}", layers)}
            for n, imagery in enumerate(shown.imagery)
        ],
        "box": list(shown.box),
        "attribution": shown.attribution,
        "notes": list(shown.notes),
        "ramp": ramp(RAMP_STEPS),
    }


def _map_facts(number: int, mapped: ShownMap, layers: dict[str, Layer]) -> Facts:
    content = mapped.store.plan.content
    return {
        "name": mapped.name,
        "interval": content.get("interval"),
        "legend": mapped.legend.name,
        "classes": [
            {"value": item.value, "name": item.name, "color": item.color}
            for item in mapped.legend.classes
        ],
        "layers": {
            name: _source(f"{name}-{number}", layers)
            for name in (LANDCOVER, CONFIDENCE)
            if name in mapped.layers
        },
    }


def _source(name: str, layers: dict[str, Layer]) -> Facts:
    layer = layers[name]
    # With its version in its address, a browser may keep a tile.
    version = layer.view.store.plan.digest[:16]
    return {"id": name, "least_zoom": layer.least_zoom, "version": version}


def place_facts(shown: Shown, longitude: float, latitude: float) -> Facts:
    """Return what each map says of a place."""
    place = Graticule(np.array([longitude]), np.array([latitude]))
    return {
        "longitude": longitude,
        "latitude": latitude,
        "maps": [{"name": mapped.name, **_told(mapped, place)} for mapped in shown.maps],
    }


def _told(mapped: ShownMap, place: Graticule) -> Facts:
    stored = {name: view.under(place, GSD)[..., 0, 0] for name, view in mapped.layers.items()}
    if not int(stored[LANDCOVER]):
        return {"class": None, "counts": _counts(stored)}
    return {
        "class": _class(mapped, stored[LANDCOVER]),
        "confidence": _share(stored.get(CONFIDENCE)),
        "second": _class(mapped, stored.get(SECOND)),
        "margin": _share(stored.get(MARGIN)),
        "probabilities": _probabilities(mapped, stored.get(PROBABILITY)),
        "counts": _counts(stored),
    }


def _class(mapped: ShownMap, value: np.ndarray | np.uint8 | None) -> Facts | None:
    found = [item for item in mapped.legend.classes if item.value == value]
    return {"name": found[0].name, "color": found[0].color} if found else None


def _share(level: np.ndarray | np.uint8 | None) -> float | None:
    return None if level is None or level == NO_CONFIDENCE else float(level) / FULL_CONFIDENCE


def _probabilities(mapped: ShownMap, levels: np.ndarray | None) -> list[Facts]:
    if levels is None:
        return []
    pairs = zip(mapped.legend.classes, levels, strict=True)
    told = [(_share(level), item) for item, level in pairs]
    known = sorted(((s, i) for s, i in told if s is not None), key=lambda p: p[0], reverse=True)
    return [{"name": item.name, "color": item.color, "share": share} for share, item in known]


def _counts(stored: dict[str, Any]) -> Facts:
    return {
        name.removeprefix(COUNTS): int(count)
        for name, count in stored.items()
        if name.startswith(COUNTS)
    }
