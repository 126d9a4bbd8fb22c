"""Cloud-optimised GeoTIFF files."""

import uuid
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from jaxtyping import Shaped
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter, MemoryFile

BLOCK_PX: Final = 256
"""Height and width of an internal block; larger rasters get overviews."""


def write_cog(  # noqa: PLR0913 - a raster and its place have as many parts
    path: Path,
    array: Shaped[np.ndarray, "y x"] | Shaped[np.ndarray, "band y x"],
    *,
    crs: str,
    transform: Affine,
    nodata: float | None,
    colors: dict[int, tuple[int, int, int]] | None = None,
    names: dict[int, str] | None = None,
    resampling: str = "average",
) -> None:
    """Write a deflate-compressed COG; the file appears whole or not at all.

    Args:
        path: The file to write; replaced if it exists. Its folder is made.
        array: Values as they go into the file.
        crs: Coordinate reference system of `transform`.
        transform: From pixel corners (x, y) to coordinates.
        nodata: The value that means no data, if any.
        colors: Red, green and blue, 0 to 255, of each value; for one band of uint8 only.
        names: Name of each value; kept as band tags `class_<value>`.
        resampling: How overviews are made: "mode" for classes, "average" for quantities.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tif")
    try:
        with MemoryFile() as memory:
            with memory.open(**_profile(array, crs, transform, nodata)) as target:
                _fill(target, array, colors or {}, names or {})
            rasterio.shutil.copy(memory.name, part, **_layout(resampling))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _profile(
    array: Shaped[np.ndarray, "..."], crs: str, transform: Affine, nodata: float | None
) -> dict[str, object]:
    """Describe the raster in memory from which the COG is made."""
    height, width = array.shape[-2:]
    return {
        "driver": "GTiff",
        "dtype": array.dtype,
        "count": int(np.prod(array.shape[:-2])),
        "height": height,
        "width": width,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
    }


def _fill(
    target: DatasetWriter,
    array: Shaped[np.ndarray, "..."],
    colors: dict[int, tuple[int, int, int]],
    names: dict[int, str],
) -> None:
    """Write values, colour table and names of values."""
    target.write(array.reshape(-1, *array.shape[-2:]))
    if colors:
        target.write_colormap(1, {value: (*color, 255) for value, color in colors.items()})
        target.colorinterp = [ColorInterp.palette]
    if names:
        target.update_tags(1, **{f"class_{value}": name for value, name in names.items()})


def _layout(resampling: str) -> dict[str, str]:
    """Return the options of GDAL's COG driver; the predictor follows the data type."""
    return {
        "driver": "COG",
        "COMPRESS": "DEFLATE",
        "LEVEL": "6",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(BLOCK_PX),
        "OVERVIEWS": "AUTO",
        "RESAMPLING": resampling.upper(),
    }
