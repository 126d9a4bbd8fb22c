"""Areas from vector files."""

from pathlib import Path

import geopandas
from pyogrio.errors import DataLayerError, DataSourceError

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area, area_of_polygons


def read_region(path: Path) -> Area:
    """Return the polygons of a vector file (GeoJSON, GeoPackage, …) as an area.

    Raises:
        InvalidInputError: The file is absent, unreadable, without a CRS or without polygons.
    """
    if not path.is_file():
        raise InvalidInputError(f"--region {path}: no such file; give a GeoJSON or GeoPackage")
    try:
        frame = geopandas.read_file(path)
    except (DataSourceError, DataLayerError) as error:
        raise InvalidInputError(
            f"--region {path} cannot be read: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(frame, geopandas.GeoDataFrame) or frame.crs is None:
        raise InvalidInputError(f"--region {path}: needs geometries and a CRS")
    polygons = frame.to_crs("EPSG:4326").union_all()
    return area_of_polygons(polygons, f"--region {path}")
