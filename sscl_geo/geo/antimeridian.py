"""Polygons in degrees that run over longitude 180."""

from collections.abc import Iterator

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

_HALF_TURN = 180.0


def jumps(polygon: Polygon) -> bool:
    """Whether two neighbouring corners of a polygon lie more than half a turn apart.

    Edges that are short on the ground do so only where they run over the antimeridian.
    """
    rings = (polygon.exterior, *polygon.interiors)
    steps = (np.abs(np.diff(shapely.get_coordinates(ring)[:, 0])) for ring in rings)
    return any(bool((step > _HALF_TURN).any()) for step in steps)


def cut(geometry: BaseGeometry) -> MultiPolygon:
    """Return the polygons of a geometry; those that run over the antimeridian are cut there.

    Args:
        geometry: Polygons within longitudes -180..180, of edges that are short on the ground.
    """
    parts = (part for part in _flat(geometry) if isinstance(part, Polygon))
    return MultiPolygon(
        [piece for part in parts for piece in (halves(part) if jumps(part) else (part,))]
    )


def halves(polygon: Polygon) -> Iterator[Polygon]:
    """Yield the parts of a polygon that runs over the antimeridian, valid, on both sides of it."""
    turn = np.array([2 * _HALF_TURN, 0.0])
    turned = shapely.transform(polygon, lambda xy: np.where(xy[:, :1] < 0, xy + turn, xy))
    whole = shapely.make_valid(turned)
    yield from polygons(whole.intersection(box(0, -90, _HALF_TURN, 90)))
    west = whole.intersection(box(_HALF_TURN, -90, 3 * _HALF_TURN, 90))
    yield from polygons(shapely.transform(west, lambda xy: xy - turn))


def _flat(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    """Yield the single parts of a geometry, whose parts may have parts."""
    yield from shapely.get_parts(shapely.get_parts(geometry))


def polygons(geometry: BaseGeometry) -> Iterator[Polygon]:
    """Yield the polygons of a geometry, made valid, that have ground."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    for part in _flat(valid):
        if isinstance(part, Polygon) and not part.is_empty:
            yield part
