"""The ground that a user wants: a box, or polygons."""

import shapely
from shapely.geometry.base import BaseGeometry

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox, checked_bbox

HALF_WORLD = 180.0


class Area(Frozen):
    """Ground in longitude and latitude (EPSG:4326).

    Attributes:
        bbox: Box around it; `west > east` means that it crosses the antimeridian.
        region: Polygons as WKT, cut at the antimeridian; None is the whole box.
    """

    bbox: BBox
    region: str | None = None

    @property
    def polygon(self) -> BaseGeometry:
        """The ground as polygons within longitudes -180..180."""
        if self.region is not None:
            return shapely.from_wkt(self.region)
        return shapely.union_all([shapely.box(*part) for part in self.bbox.split()])

    def within(self, box: BBox) -> BaseGeometry:
        """Return the part of the ground in a box that does not cross the antimeridian."""
        return shapely.intersection(self.polygon, shapely.box(*box))


def area_of_polygons(polygons: BaseGeometry, source: str) -> Area:
    """Return polygons in degrees as an area; their parts lie within longitudes -180..180.

    An area that is wider than half the world, and has ground on both sides of the antimeridian, is
    taken to cross it.

    Raises:
        InvalidInputError: There is no ground in them, or it lies outside the world; the message
            names `source`.
    """
    parts = [part for part in shapely.get_parts(shapely.make_valid(polygons)) if part.area > 0]
    if not parts:
        raise InvalidInputError(f"{source}: holds no polygon with an area; give polygons")
    ground = shapely.union_all(parts)
    west, south, east, north = ground.bounds
    if east - west > HALF_WORLD:
        lefts = [part.bounds[0] for part in shapely.get_parts(ground) if part.bounds[0] >= 0]
        rights = [part.bounds[2] for part in shapely.get_parts(ground) if part.bounds[2] <= 0]
        crossing = len(lefts) + len(rights) == shapely.get_num_geometries(ground)
        west, east = (min(lefts), max(rights)) if crossing else (west, east)
    return Area(bbox=checked_bbox(west, south, east, north), region=shapely.to_wkt(ground, 9))
