"""Rasters on other pixels than their own, so that a pixel does not depend on who asks for it."""

import math
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
import rasterio
import rasterio.warp
from affine import Affine
from jaxtyping import Bool, Shaped
from rasterio.enums import Resampling

from sscl_geo.geo.grid import Block, Window
from sscl_geo.geo.ground import DEGREES, transformer
from sscl_geo.geo.surface import EARTH, METRES_PER_DEGREE
from sscl_geo.io.cells import cells_of
from sscl_geo.io.windows import read_padded

_COARSER = 1.5
"""A block whose pixels are this many times the source's is averaged instead of interpolated."""

Content = Literal["continuous", "power", "classes"]
"""Measurements, backscatter in linear power (always above zero), or numbers of classes."""


class _Source(NamedTuple):
    pixels: Shaped[np.ndarray, "y x"]
    transform: Affine
    crs: rasterio.CRS
    nodata: float


class _Kernel(NamedTuple):
    resampling: Resampling
    ratio: float


def warped(
    dataset: rasterio.DatasetReader, block: Block, nodata: float, content: Content
) -> Shaped[np.ndarray, "y x"]:
    """Return the first band on a block's pixels; the source is read once.

    The plane of the block's CRS is cut into cells (see `cells_of`). Every cell
    is warped whole, from its own window of the source, whatever part of it the block needs: GDAL
    interpolates coordinates along the rows that it is given (by 0.02 px of 10 m at most in a cell),
    so only then a pixel has the same bits in every block that holds it.

    Continuous values and power are interpolated (bilinear) or, on pixels more than 1.5 times as
    large on the ground, averaged; classes take the nearest or the most frequent value. Pixels that
    the file does not cover, or has no data for, are `nodata`; of power also those that are not
    above zero, with which terrain-corrected scenes fill holes.
    """
    out = np.full((block.height, block.width), nodata, dataset.dtypes[0])
    ratio = _ratio(dataset, block)
    cells = list(cells_of(dataset, block, margin=2 + 2 * math.ceil(ratio)))
    if not cells:
        return out
    around = reduce(Window.union, (cell.source for cell in cells))
    pixels = read_padded(dataset, around, nodata)
    if content == "power":
        pixels[~(pixels > 0)] = nodata
    for cell in cells:
        window = cell.source
        part = window.within(around).slices
        transform = dataset.transform @ Affine.translation(window.x, window.y)
        source = _Source(np.ascontiguousarray(pixels[part]), transform, dataset.crs, nodata)
        kernel = _Kernel(_resampling(content, ratio), ratio)
        out[cell.target] = _warped_cell(source, cell.ground, kernel)[cell.inner]
    return out


def _warped_cell(source: _Source, ground: Block, kernel: _Kernel) -> Shaped[np.ndarray, "y x"]:
    out = np.full((ground.height, ground.width), source.nodata, source.pixels.dtype)
    rasterio.warp.reproject(
        source.pixels,
        out,
        src_transform=source.transform,
        src_crs=source.crs,
        # GDAL takes the short way where nothing is missing.
        src_nodata=source.nodata if _is_missing(source).any() else None,
        dst_transform=ground.transform,
        dst_crs=rasterio.CRS.from_user_input(ground.crs),
        dst_nodata=source.nodata,
        resampling=kernel.resampling,
        # A fixed kernel: GDAL would else estimate it from the window.
        XSCALE=1 / kernel.ratio,
        YSCALE=1 / kernel.ratio,
        # One coordinate operation for all cells, which PROJ then makes only once.
        AREA_OF_INTEREST="-180,-90,180,90",
    )
    return out


def _is_missing(source: _Source) -> Bool[np.ndarray, "y x"]:
    is_nan = np.isnan(source.nodata)
    return np.asarray(np.isnan(source.pixels) if is_nan else source.pixels == source.nodata)


def _ratio(dataset: rasterio.DatasetReader, block: Block) -> float:
    """Return how many of a file's pixels lie along one of a block's, whose metres are the ground's.

    It is one for all blocks of a CRS, so that they take the same kernel.
    """
    side, crs = float(dataset.res[0]), dataset.crs
    if crs == rasterio.CRS.from_user_input(block.crs):
        return block.transform.a / side
    if crs.is_geographic:
        return block.transform.a / (side * METRES_PER_DEGREE)
    return block.transform.a * _scale(dataset) / (side * float(crs.linear_units_factor[1]))


def _scale(dataset: rasterio.DatasetReader) -> float:
    """Return how large a projected CRS draws the ground in the middle of a file, to a tenth.

    It is 1 in UTM, and 2 in Web Mercator at 60 degrees north.
    """
    column, row = dataset.width / 2, dataset.height / 2
    x, y = dataset.transform @ np.array([[column, column + 1, column], [row, row, row + 1]])
    longitude, latitude = transformer(dataset.crs.to_wkt(), DEGREES).transform(x, y)
    _, _, sides = EARTH.inv(longitude[[0, 0]], latitude[[0, 0]], longitude[1:], latitude[1:])
    drawn = np.sqrt(abs(dataset.transform.determinant)) * dataset.crs.linear_units_factor[1]
    scale = float(drawn / np.sqrt(np.prod(sides)))
    return max(round(scale, 1), 0.1) if math.isfinite(scale) else 1.0


def _resampling(content: Content, ratio: float) -> Resampling:
    if content == "classes":
        return Resampling.mode if ratio > _COARSER else Resampling.nearest
    return Resampling.average if ratio > _COARSER else Resampling.bilinear
