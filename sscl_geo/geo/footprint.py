"""Outlines of scenes."""

from collections.abc import Iterator, Mapping
from typing import Any

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

from sscl_geo.geo.antimeridian import halves, polygons

_HALF_TURN = 180.0


def footprint(geometry: Mapping[str, Any] | None) -> str:
    """Return the outer rings of a GeoJSON geometry as WKT, to 1e-6 degrees; empty if it has none.

    A ring that jumps over the antimeridian, as some catalogues write it, is cut there.
    """
    try:
        whole = shape(dict(geometry)) if geometry else Polygon()
        parts = [part for ring in _rings(whole) for part in _cut(Polygon(ring))]
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError):
        return ""
    outline = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return "" if outline.is_empty else shapely.to_wkt(outline, rounding_precision=6)


def _rings(whole: BaseGeometry) -> Iterator[list[tuple[float, float]]]:
    for part in getattr(whole, "geoms", [whole]):
        if isinstance(part, Polygon) and not part.is_empty:
            yield [(point[0], point[1]) for point in part.exterior.coords]


def _cut(ring: Polygon) -> Iterator[Polygon]:
    """Yield a ring's parts on this planet's map, valid."""
    west, _, east, _ = ring.bounds
    if east - west <= _HALF_TURN:
        yield from polygons(ring)
    else:
        yield from halves(ring)
