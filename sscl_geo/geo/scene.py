"""One acquisition, as a small value that carries no pixels."""

import shapely
from pydantic import AwareDatetime
from shapely.geometry.base import BaseGeometry

from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox, meet


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
        witness: What decided `harmonise`, in words.
        orbit: `ascending`, `descending`, or `unknown`.
        relative_orbit: Relative orbit number, where known.
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
    orbit: str = "unknown"
    relative_orbit: int | None = None

    def href(self, band: str) -> str:
        """Return the address of a band's asset."""
        return dict(self.hrefs)[band]

    @property
    def is_optical(self) -> bool:
        """Whether the scene is of an optical sensor, whose DN convention somebody witnessed."""
        return bool(self.witness)

    @property
    def outline(self) -> BaseGeometry:
        """The footprint's box in degrees; of two parts where it crosses the antimeridian."""
        return shapely.union_all([shapely.box(*part) for part in self.bbox.split()])

    def overlaps(self, box: BBox) -> bool:
        """Whether the footprint's box meets another box; either may cross the antimeridian."""
        return meet(self.bbox, box)
