"""Areas from vector files."""

from pathlib import Path

import geopandas

from sscl_geo.errors import InvalidInputError, readable
from sscl_geo.geo.antimeridian import cut
from sscl_geo.geo.area import Area, area_of_polygons
from sscl_geo.geo.ground import DEGREES

LONGEST_EDGE = 10_000.0
"""Metres after which an edge gets a corner before it is carried to degrees, where it bends."""


def read_region(path: Path) -> Area:
    """Return the polygons of a vector file (GeoJSON, GeoPackage, …) as an area.

    Edges are straight in the file's CRS.

    Raises:
        InvalidInputError: The file is absent, unreadable, without a CRS or without polygons.
    """
    if not path.is_file():
        raise InvalidInputError(f"--region {path}: no such file; give a GeoJSON or GeoPackage")
    with readable(f"--region {path}"):
        frame = geopandas.read_file(path)
        if not isinstance(frame, geopandas.GeoDataFrame) or frame.crs is None:
            raise InvalidInputError(f"--region {path}: needs geometries and a CRS")
        whole = frame.geometry.make_valid()
        if frame.crs.is_projected:
            bent = whole.segmentize(LONGEST_EDGE / frame.crs.axis_info[0].unit_conversion_factor)
            whole = bent.to_crs(DEGREES).map(cut)
        return area_of_polygons(whole.to_crs(DEGREES).union_all(), f"--region {path}")
