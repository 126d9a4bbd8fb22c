"""Areas from vector files."""

from pathlib import Path

from sscl_geo.errors import readable
from sscl_geo.geo.antimeridian import cut
from sscl_geo.geo.area import Area, area_of_polygons
from sscl_geo.geo.ground import DEGREES
from sscl_geo.io.vectors import edge_of, read_vector

LONGEST_EDGE = 10_000.0
"""Metres after which an edge gets a corner before it is carried to degrees, where it bends."""


def read_region(path: Path) -> Area:
    """Return the polygons of a vector file that `read_vector` reads as an area.

    Edges are straight in the file's CRS.

    Raises:
        InvalidInputError: The file is absent, unreadable, without a CRS or without polygons.
    """
    frame = read_vector(path, f"--region {path}")
    with readable(f"--region {path}"):
        whole = frame.geometry.make_valid()
        if frame.crs.is_projected:
            bent = whole.segmentize(edge_of(frame.crs, LONGEST_EDGE))
            whole = bent.to_crs(DEGREES).map(cut)
        return area_of_polygons(whole.to_crs(DEGREES).union_all(), f"--region {path}")
