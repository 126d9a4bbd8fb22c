"""Reference labels of any source on the pixels of a grid."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import rasterio
import rasterio.features
import shapely
from jaxtyping import Shaped
from pandas.api.types import is_numeric_dtype

from sscl_geo.errors import InvalidInputError, readable
from sscl_geo.geo.bbox import meet
from sscl_geo.geo.grid import Block
from sscl_geo.geo.ground import block_bbox
from sscl_geo.io.layers import LayerItem
from sscl_geo.io.profile import Profile
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import signer
from sscl_geo.io.vectors import STARTS, edge_of, read_vector

PART_PX = 512
"""Most pixels along a side of what is read of a file at a time."""

RASTERS = (".tif", ".tiff")

_MOST = np.iinfo(np.int32).max
_AREAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@runtime_checkable
class LabelSource(Protocol):
    """Labels in a coding of their own."""

    def on(self, block: Block) -> Shaped[np.ndarray, "y x"]:
        """Return the labels of a block's pixels, 0 where there is none."""


class RasterLabels:
    """A GeoTIFF of classes; its nodata counts as 0. Finer pixels give their most frequent class.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def on(self, block: Block) -> Shaped[np.ndarray, "y x"]:
        """Return the labels of a block's pixels, 0 where there is none."""
        with GeoTiffReader(signer("none")) as reader:
            # In parts: of a finer file many pixels lie under each, and a pixel is the same in any.
            rows = [
                [
                    reader.read(self._path, block.part(part), 0, "classes")
                    for part in row.blocks(PART_PX, PART_PX)
                ]
                for row in block.window.blocks(PART_PX, block.width)
            ]
        return np.block(rows)


class LayerLabels:
    """Classes of a catalogue's layer; of several rasters over a pixel the first that has it counts.

    Args:
        items: The rasters, the preferred first.
        profile: Their catalogue's, which says who signs their addresses.
    """

    def __init__(self, items: Sequence[LayerItem], profile: Profile) -> None:
        self._items = items
        # One for all tiles, as a token serves many.
        self._sign = signer(profile.signing, profile.private_hosts)

    def on(self, block: Block) -> Shaped[np.ndarray, "y x"]:
        """Return the labels of a block's pixels, 0 where there is none."""
        box = block_bbox(block)
        found = np.zeros((block.height, block.width), np.int32)
        with GeoTiffReader(self._sign) as reader:
            for item in self._items:
                if not meet(item.bbox, box) or found.all():
                    continue
                here = reader.read(item.href, block, 0, "classes").astype(np.int32)
                np.copyto(found, here, where=found == 0)
        return found


class VectorLabels:
    """Polygons with a class number; a pixel belongs to the polygon that holds its centre.

    Args:
        path: A vector file that `read_vector` reads.
        column: Column of the class numbers; where polygons overlap, the last one counts.

    Raises:
        InvalidInputError: The file cannot be read, holds something else than polygons, or lacks the
            column or a whole number of 32 bits in it.
    """

    def __init__(self, path: Path, column: str) -> None:
        frame = read_vector(path, f"--source {path}")
        if column not in frame.columns:
            known = ", ".join(str(name) for name in frame.columns if name != "geometry")
            told = f"name one of {known} with --column" if known else "it has none; add one"
            raise InvalidInputError(f"{path} has no column {column!r} of class numbers; {told}")
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame[column][(numbers % 1 != 0) | (numbers.abs() > _MOST)]
        if len(wrong) or not is_numeric_dtype(frame[column].dtype):
            found = f" and not {wrong.iloc[0]}" if len(wrong) else ""
            raise InvalidInputError(
                f"{path}: column {column!r} must hold whole numbers of 32 bits, the sources of the "
                f"legend's classes{found}; name another with --column"
            )
        _check_areal(frame.geometry.to_numpy(), path)
        self._path = path
        self._frame = frame.set_geometry(frame.geometry.segmentize(edge_of(frame.crs)))
        self._values = frame[column].to_numpy().astype(int)
        self._local: dict[str, tuple[np.ndarray, shapely.STRtree]] = {}
        self._lock = threading.Lock()

    def on(self, block: Block) -> Shaped[np.ndarray, "y x"]:
        """Return the labels of a block's pixels, 0 where there is none."""
        with readable(f"--source {self._path}"):
            shapes, tree = self._in(block.crs)
            # In the file's order, as the last polygon counts.
            here = np.sort(tree.query(shapely.box(*block.bounds)))
            if not here.size:
                return np.zeros((block.height, block.width), np.int32)
            burned: np.ndarray = rasterio.features.rasterize(
                zip(shapes[here], self._values[here], strict=True),
                (block.height, block.width),
                transform=block.transform,
                dtype="int32",
            )
            return burned

    def _in(self, crs: str) -> tuple[np.ndarray, shapely.STRtree]:
        """Return the polygons in a CRS and an index of them, made once for all tiles of a zone."""
        with self._lock:
            if crs not in self._local:
                shapes = self._frame.geometry.to_crs(crs).to_numpy()
                self._local = {crs: (shapes, shapely.STRtree(shapes))}
            return self._local[crs]


def _check_areal(shapes: np.ndarray, path: Path) -> None:
    is_other = ~np.isin(shapely.get_type_id(shapes), _AREAL) & ~shapely.is_empty(shapes)
    count = np.count_nonzero(is_other & ~shapely.is_missing(shapes))
    if count:
        raise InvalidInputError(
            f"--source {path}: {count} of its {len(shapes)} geometries are no polygons, and hold "
            "no pixel's centre; buffer them to the ground that they stand for"
        )


def _check_georeferenced(path: Path) -> None:
    with rasterio.open(path, driver="GTiff") as dataset:
        if dataset.crs is None:
            raise InvalidInputError(
                f"--source {path}: has no CRS; write one into it, such as with `rio edit-info "
                f"--crs EPSG:32633 {path.name}`"
            )


def source_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold the labels of a source: one, or all parts of a shapefile."""
    if path.suffix.lower() != ".shp":
        return (path,)
    return tuple(sorted(path.parent.glob(f"{path.stem}.*")))


def label_source(path: Path, column: str) -> LabelSource:
    """Return the labels of a file.

    Raises:
        InvalidInputError: The file is absent, of an unknown kind, or cannot be read.
    """
    told, suffix = f"--source {path}", path.suffix.lower()
    kinds = ", ".join((*RASTERS, *STARTS))
    if not path.is_file():
        raise InvalidInputError(f"{told}: no such file; give a GeoTIFF or a vector file ({kinds})")
    if suffix not in (*RASTERS, *STARTS):
        raise InvalidInputError(f"{told}: unknown kind; give a GeoTIFF or a vector file ({kinds})")
    with readable(told):
        if suffix in STARTS:
            return VectorLabels(path, column)
        _check_georeferenced(path)
        return RasterLabels(path)
