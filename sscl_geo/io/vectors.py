"""Vector files: those of users, read by what they are, and those for analysts, written whole."""

import uuid
from pathlib import Path
from typing import Final

import geopandas
import pyogrio

from sscl_geo.errors import InvalidInputError, readable

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


def read_vector(path: Path, told: str) -> geopandas.GeoDataFrame:
    """Return the one layer of a GeoPackage, GeoJSON, FlatGeobuf, shapefile or GeoParquet, in 2D.

    Args:
        path: The file.
        told: Names the file in errors, such as `--zones districts.gpkg`.

    Raises:
        InvalidInputError: The file is absent, of another kind, unreadable, or has no CRS, no layer
            or several.
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
        else:
            frame = geopandas.read_file(path, layer=_layer(path, told), force_2d=True)
    if frame.crs is None:
        raise InvalidInputError(f"{told}: has no CRS; write one into it, such as in QGIS")
    return frame


def _layer(path: Path, told: str) -> str:
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        message = f"{told}: needs one layer of polygons, and has {', '.join(layers) or 'none'}"
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
    pending = path.with_name(f".{uuid.uuid4().hex}{path.suffix.lower()}")
    try:
        if path.suffix.lower() == ".parquet":
            frame.to_parquet(pending, index=False, write_covering_bbox=True)
        else:
            pyogrio.write_dataframe(
                frame, pending, layer, "GPKG", geometry_type="MultiPolygon", promote_to_multi=True
            )
        pending.replace(path)
    finally:
        pending.unlink(missing_ok=True)
