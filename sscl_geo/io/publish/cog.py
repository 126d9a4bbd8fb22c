"""Cloud-optimised GeoTIFF files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from jaxtyping import Shaped
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter

from sscl_geo.geo.grid import Block, Grid, Window
from sscl_geo.io.disk import Disk
from sscl_geo.io.location import AnyLocation, Location, location

BLOCK_PX: Final = 256
"""Height and width of an internal block; larger rasters get overviews."""


Overviews = Literal["average", "mode"]
Blocks = Iterable[tuple[Window, Shaped[np.ndarray, "..."]]]


class Palette(NamedTuple):
    """Colour (red, green, blue, 0..255) and name of each value of a raster of classes."""

    colors: Mapping[int, tuple[int, int, int]]
    names: Mapping[int, str]


def cog_path(out: AnyLocation, grid: Grid, grids: Sequence[Grid]) -> Location:
    """Return the path of a zone's COG: beside a store, named by the zone if there are several."""
    name = out.stem if len(grids) == 1 else f"{out.stem}-{grid.zone}"
    return location(out).with_name(f"{name}.tif")


def cog_paths(out: AnyLocation, grids: Sequence[Grid]) -> tuple[Location, ...]:
    """Return the path of every zone's COG."""
    return tuple(cog_path(out, grid, grids) for grid in grids)


def write_cog(  # noqa: PLR0913 - a raster and its place have as many parts
    path: Path,
    array: Shaped[np.ndarray, "y x"] | Shaped[np.ndarray, "band y x"],
    *,
    crs: str,
    transform: Affine,
    nodata: float | None,
    overviews: Overviews = "average",
    palette: Palette | None = None,
) -> None:
    """Write an array as a deflate-compressed COG; the file appears whole or not at all.

    Args:
        path: The file to write; replaced if it exists. Its folder is made.
        array: Values as they go into the file.
        crs: Coordinate reference system of `transform`.
        transform: From pixel corners (x, y) to coordinates.
        nodata: The value that means no data, if any.
        overviews: `mode` for classes, `average` for quantities.
        palette: For classes in one band of uint8: their colour table and their names, the latter
            kept as band tags `class_<value>`.
    """
    height, width = array.shape[-2:]
    window = Window(0, 0, height, width)
    write_cog_blocks(
        path,
        [(window, array)],
        Block(crs, transform, height, width),
        profile=RasterProfile(str(array.dtype), nodata, int(np.prod(array.shape[:-2])), overviews),
        palette=palette,
    )


class RasterProfile(NamedTuple):
    """Type, nodata and number of bands of a raster, and how its overviews are made."""

    dtype: str
    nodata: float | None
    bands: int = 1
    overviews: Overviews = "average"


def write_cog_blocks(
    path: Path,
    blocks: Blocks,
    ground: Block,
    *,
    profile: RasterProfile,
    palette: Palette | None = None,
) -> None:
    """Write a COG block by block, as `write_cog` does, without holding all of it in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Disk().new_file(str(path)) as pending:
        plain = pending.with_stem(f"{pending.stem}.plain")
        try:
            with rasterio.open(plain, "w", **_profile(ground, profile)) as target:
                _fill(target, blocks, palette)
            rasterio.shutil.copy(plain, pending, **_layout(profile.overviews))
        finally:
            plain.unlink(missing_ok=True)


def _profile(ground: Block, profile: RasterProfile) -> dict[str, object]:
    """Describe the plain GeoTIFF from which the COG is made."""
    return {
        "driver": "GTiff",
        "dtype": profile.dtype,
        "count": profile.bands,
        "height": ground.height,
        "width": ground.width,
        "crs": ground.crs,
        "transform": ground.transform,
        "nodata": profile.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        # It stands beside the COG for a while: quickly compressed, and without empty blocks.
        "compress": "DEFLATE",
        "zlevel": 1,
        "SPARSE_OK": True,
        "BIGTIFF": "IF_SAFER",
    }


def _fill(target: DatasetWriter, blocks: Blocks, palette: Palette | None) -> None:
    """Write values, colour table and names of values."""
    for window, array in blocks:
        rows, columns = window.slices
        place = ((rows.start, rows.stop), (columns.start, columns.stop))
        target.write(array.reshape(-1, *array.shape[-2:]), window=place)
    if palette is not None:
        target.write_colormap(1, {value: (*rgb, 255) for value, rgb in palette.colors.items()})
        target.colorinterp = [ColorInterp.palette]
        target.update_tags(1, **{f"class_{value}": name for value, name in palette.names.items()})


def _layout(overviews: Overviews) -> dict[str, str]:
    """Return the options of GDAL's COG driver; the predictor follows the data type."""
    return {
        "driver": "COG",
        "COMPRESS": "DEFLATE",
        "LEVEL": "6",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(BLOCK_PX),
        "OVERVIEWS": "AUTO",
        "RESAMPLING": overviews.upper(),
        # GDAL cannot foresee how large a compressed file becomes, and a classic one ends at 4 GiB.
        "BIGTIFF": "IF_SAFER",
    }
