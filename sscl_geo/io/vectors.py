"""Vector files: those of users, read by what they are, and those for analysts, written whole."""

from pathlib import Path
from typing import Final

import geopandas
import numpy as np
import pyogrio
import shapely
from pyproj import CRS

from sscl_geo.errors import InvalidInputError, readable
from sscl_geo.geo.surface import METRES_PER_DEGREE
from sscl_geo.io.disk import Disk

KINDS: Final = (".parquet", ".gpkg")

STARTS: Final = {
    ".gpkg": b"SQLite format 3\0",
    ".geojson": b"{",
    ".json": b"{",
    ".fgb": b"fgb\x03",
    ".shp": b"\0\0\x27\x0a",
    ".parquet": b"PAR1",
}
"""How files of each kind begin: by its content a file may be a VRT, which names other files."""

EDGE_METRES = 1000.0
_HALF_TURN = 180.0


def read_vector(path: Path, told: str) -> geopandas.GeoDataFrame:
    """Return the one layer of a GeoPackage, GeoJSON, FlatGeobuf, shapefile or GeoParquet, in 2D.

    Args:
        path: The file.
        told: Names the file in errors, such as `--zones districts.gpkg`.

    Raises:
        InvalidInputError: The file is absent, of another kind, unreadable, has no CRS, no layer or
            several, or an edge over more than half the world.
    """
    kinds = ", ".join(STARTS)
    if not path.is_file():
        raise InvalidInputError(f"{told}: no such file; give a vector file ({kinds})")
    start = STARTS.get(path.suffix.lower())
    if start is None:
        raise InvalidInputError(f"{told}: unknown kind; give a vector file ({kinds})")
    with path.open("rb") as file:
        head = file.read(1024).removeprefix(b"\xef\xbb\xbf")
    if not (head.lstrip() if start == b"{" else head).startswith(start):
        raise InvalidInputError(f"{told} cannot be read: it is no {path.suffix} file")
    with readable(told):
        if path.suffix.lower() == ".parquet":
            frame = geopandas.read_parquet(path)
            frame = frame.set_geometry(shapely.force_2d(frame.geometry))
        else:
            frame = geopandas.read_file(path, layer=_layer(path, told), force_2d=True)
    if frame.crs is None:
        raise InvalidInputError(f"{told}: has no CRS; write one into it, such as in QGIS")
    if frame.crs.is_geographic:
        _check_edges(frame.geometry.to_numpy(), told)
    return frame


def edge_of(crs: CRS, metres: float = EDGE_METRES) -> float:
    """Return about a length in a CRS's units; an edge of 1 km bends by centimetres in another CRS.

    Edges are straight in the file's CRS, and need corners so often before corners are carried over.
    """
    if crs.is_geographic:
        return metres / METRES_PER_DEGREE
    return metres / float(crs.axis_info[0].unit_conversion_factor)


def _check_edges(shapes: np.ndarray, told: str) -> None:
    """Check that no edge runs over the antimeridian, which nobody can tell from the long way."""
    rings = shapely.get_rings(shapely.get_parts(shapely.get_parts(shapes)))
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    steps = np.abs(np.diff(corners[:, 0]))
    is_long = (steps > _HALF_TURN) & (steps < 2 * _HALF_TURN) & (np.diff(ring) == 0)
    if is_long.any():
        first = int(np.argmax(is_long))
        west, east = corners[first : first + 2, 0]
        raise InvalidInputError(
            f"{told}: has an edge from longitude {west:g} to {east:g}; cut it at 180, such as with "
            "`ogr2ogr -wrapdateline`, or, if it goes the long way, give it corners between"
        )


def _layer(path: Path, told: str) -> str:
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        message = (
            f"{told}: needs one layer of polygons, and has {', '.join(layers) or 'none'}; write "
            "the one that is meant to a file of its own"
        )
        raise InvalidInputError(message)
    return layers[0]


def check_vector(path: Path) -> None:
    """Check that a path ends as a kind of file that `write_vector` writes.

    Raises:
        InvalidInputError: The suffix is another.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(f"--out {path}: must end in {' or '.join(KINDS)}")


def write_vector(path: Path, frame: geopandas.GeoDataFrame, layer: str) -> None:
    """Write a table of geometries by the suffix of the path; replaced if it exists.

    Args:
        path: The file.
        frame: The geometries.
        layer: Name of the layer in a GeoPackage.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with Disk().new_file(str(path)) as pending:
        if path.suffix.lower() == ".parquet":
            frame.to_parquet(pending, index=False, write_covering_bbox=True)
        else:
            pyogrio.write_dataframe(
                frame, pending, layer, "GPKG", geometry_type="MultiPolygon", promote_to_multi=True
            )
