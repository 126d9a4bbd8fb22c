"""Vector files for analysts: GeoParquet and GeoPackage, written whole."""

import uuid
from pathlib import Path
from typing import Final

import geopandas
import pyogrio

from sscl_geo.errors import InvalidInputError

KINDS: Final = (".parquet", ".gpkg")


def check_vector(path: Path) -> None:
    """Let only paths through that say a kind of vector file.

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
