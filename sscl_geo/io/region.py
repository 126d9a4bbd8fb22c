"""Areas from vector files."""

from pathlib import Path

import geopandas

from sscl_geo.errors import InvalidInputError, readable
from sscl_geo.geo.area import Area, area_of_polygons


def read_region(path: Path) -> Area:
    """Return the polygons of a vector file (GeoJSON, GeoPackage, …) as an area.

    Raises:
        InvalidInputError: The file is absent, unreadable, without a CRS or without polygons.
    """
    if not path.is_file():
        raise InvalidInputError(f"--region {path}: no such file; give a GeoJSON or GeoPackage")
    with readable(f"--region {path}"):
        frame = geopandas.read_file(path)
        if not isinstance(frame, geopandas.GeoDataFrame) or frame.crs is None:
            raise InvalidInputError(f"--region {path}: needs geometries and a CRS")
        polygons = frame.to_crs("EPSG:4326").union_all()
        return area_of_polygons(polygons, f"--region {path}")
