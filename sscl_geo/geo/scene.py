"""One acquisition, as a small value that carries no pixels."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import shapely
from pydantic import AwareDatetime
from shapely.geometry import MultiPolygon, box
from shapely.geometry.base import BaseGeometry

from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox, meet

MOSTLY = 0.5
"""Of two scenes of one datatake and tile, one is a duplicate where the other covers this share."""


class Scene(Frozen):
    """One acquisition of one sensor.

    Attributes:
        id: The STAC item's id; data only, never part of a path.
        collection: STAC collection id.
        sensor: Name of the sensor plugin.
        datetime: Time of acquisition, with a time zone.
        bbox: Footprint's box in degrees.
        hrefs: Asset address of each band, unsigned, as (band, href) pairs.
        mask_href: Address of the Scene Classification Layer, if the item has one.
        harmonise: What to add to a valid DN so that it is canonical (0 for SAR).
        witness: What decided `harmonise`, in words; empty for SAR.
        confidence: `high` where metadata and pixels agree on `harmonise` or pixels outrank it,
            `low` where one of the two stands alone; empty for SAR.
        orbit: `ascending`, `descending`, or `unknown`.
        relative_orbit: Relative orbit number, where known.
        footprint: Outline in degrees as WKT, without holes; empty where the item has none.
        platform: STAC platform in lower case, such as `sentinel-2a`.
        tile: MGRS tile such as `32UNU`, where the product is cut by tiles.
        baseline: Processing baseline such as `05.11`, for optical sensors where known.
        datatake: Start of the datatake as `YYYYMMDDTHHMMSS`, its number for SAR, or else the
            time of acquisition.
        cloud_cover: Percent of clouds by the catalogue, where it says so.
        checksums: `file:checksum` of each band that has one, as (band, multihash) pairs.
    """

    id: str
    collection: str
    sensor: str
    datetime: AwareDatetime
    bbox: BBox
    hrefs: tuple[tuple[str, str], ...]
    mask_href: str | None = None
    harmonise: int = 0
    witness: str = ""
    confidence: Literal["high", "low", ""] = ""
    orbit: str = "unknown"
    relative_orbit: int | None = None
    footprint: str = ""
    platform: str = ""
    tile: str | None = None
    baseline: str | None = None
    datatake: str = ""
    cloud_cover: float | None = None
    checksums: tuple[tuple[str, str], ...] = ()

    def href(self, band: str) -> str:
        """Return the address of a band's asset."""
        return dict(self.hrefs)[band]

    @property
    def is_optical(self) -> bool:
        """Whether the scene is of an optical sensor, whose DN convention somebody witnessed."""
        return bool(self.witness)

    def overlaps(self, box: BBox) -> bool:
        """Whether the footprint's box meets another box; either may cross the antimeridian."""
        return meet(self.bbox, box)

    @property
    def outline(self) -> BaseGeometry:
        """The footprint in degrees, or its box; of two parts where it crosses the antimeridian."""
        if self.footprint:
            return shapely.from_wkt(self.footprint)
        parts = [box(*part) for part in self.bbox.split()]
        return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def newest(scenes: Iterable[Scene], preference: tuple[str, ...] = ()) -> tuple[Scene, ...]:
    """Keep one scene of each (sensor, platform, datatake, tile), by time and id.

    The first collection of `preference` wins, then the newest baseline, then the greatest id,
    whatever the order of `scenes`. Another scene of the same datatake and tile is kept beside it
    where it shows other ground: less than `MOSTLY` of it is covered. Scenes without a tile are all
    kept.
    """
    kept: dict[tuple[str, ...], list[Scene]] = defaultdict(list)
    for scene in sorted(scenes, key=lambda scene: _rank(scene, preference), reverse=True):
        rivals = kept[scene.sensor, scene.platform, scene.datatake, scene.tile or scene.id]
        if not any(_covers(rival, scene) for rival in rivals):
            rivals.append(scene)
    return tuple(
        sorted((s for group in kept.values() for s in group), key=lambda s: (s.datetime, s.id))
    )


def _rank(scene: Scene, preference: tuple[str, ...]) -> tuple[int, str, str, str]:
    known = scene.collection in preference
    place = -preference.index(scene.collection) if known else -len(preference)
    return place, scene.baseline or "", scene.id, scene.collection


def _covers(one: Scene, other: Scene) -> bool:
    ground = other.outline
    return one.outline.intersection(ground).area >= MOSTLY * ground.area
