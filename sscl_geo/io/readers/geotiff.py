"""Reading blocks of GeoTIFFs, local or by HTTP ranges, on any grid."""

import math
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import rasterio
import rasterio.warp
from affine import Affine
from jaxtyping import Shaped
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block, Window
from sscl_geo.io.signing import Signer
from sscl_geo.io.trust import redacted

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_CACHEMAX": 128,
    "VSI_CACHE": True,
}
ATTEMPTS = 3
FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""

_ON_LATTICE = 1e-3
"""A block whose corner is this close to a pixel's corner, in pixels, needs no resampling."""

_COARSER = 1.5
"""A block whose pixels are this many times the source's is averaged instead of interpolated."""

METRES_PER_DEGREE = 111_320.0

_QUERY = re.compile(r"\?[^\s'\"]*")

_ArrayT = TypeVar("_ArrayT")

Content = Literal["continuous", "classes"]


class _Raster(NamedTuple):
    array: Shaped[np.ndarray, "y x"]
    transform: Affine
    crs: str
    nodata: float


class GeoTiffReader:
    """Reads blocks and keeps files open until the `with` block ends; for one thread.

    Args:
        sign: Turns an unsigned address into one that can be read now.
    """

    def __init__(self, sign: Signer) -> None:
        self._sign = sign
        self._open: dict[str, rasterio.DatasetReader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "GeoTiffReader":
        self._stack.enter_context(rasterio.Env(**GDAL_OPTIONS))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for dataset in self._open.values():
            dataset.close()
        self._open.clear()
        self._stack.close()

    def read(
        self, href: str, block: Block, nodata: float, content: Content
    ) -> Shaped[np.ndarray, "y x"]:
        """Return the first band on the pixels of a block, in the file's own type.

        Args:
            href: Unsigned address of a GeoTIFF.
            block: The pixels wanted. Where they are the file's own, they are returned untouched;
                else continuous values are interpolated (bilinear) or, on coarser pixels, averaged,
                and classes take the nearest or the most frequent value.
            nodata: Value of the returned pixels that have no data, also of those outside the file.
            content: What the values mean.

        A resampled pixel may differ by the rounding of the last bits of PROJ between blocks.

        Raises:
            ReadError: The file could not be read in `ATTEMPTS` attempts.
        """
        return self._tried(href, lambda dataset: _on_block(dataset, block, nodata, content))

    def _tried(self, href: str, read: Callable[[rasterio.DatasetReader], _ArrayT]) -> _ArrayT:
        for attempt in range(ATTEMPTS):
            try:
                return read(self._dataset(href))
            except RasterioIOError as error:
                self._forget(href)
                cause = _brief(error)
                if attempt + 1 < ATTEMPTS:
                    time.sleep(FIRST_PAUSE * 2**attempt)
        raise ReadError(f"{redacted(href)} cannot be read: {cause}")

    def _dataset(self, href: str) -> rasterio.DatasetReader:
        if href not in self._open:
            self._open[href] = rasterio.open(self._sign(href), driver="GTiff", sharing=False)
        return self._open[href]

    def _forget(self, href: str) -> None:
        dataset = self._open.pop(href, None)
        if dataset is not None:
            dataset.close()

    def overview(self, href: str, longest_px: int) -> Shaped[np.ndarray, "y x"]:
        """Return the first band thinned to at most `longest_px` pixels a side, nodata as it is.

        Raises:
            ReadError: The file could not be read in `ATTEMPTS` attempts.
        """

        def read(dataset: rasterio.DatasetReader) -> Shaped[np.ndarray, "y x"]:
            step = max(1.0, max(dataset.shape) / longest_px)
            shape = tuple(max(1, int(side / step)) for side in dataset.shape)
            thinned: np.ndarray = dataset.read(1, out_shape=shape)
            return thinned

        return self._tried(href, read)


def _on_block(
    dataset: rasterio.DatasetReader, block: Block, nodata: float, content: Content
) -> Shaped[np.ndarray, "y x"]:
    window = _own_pixels(dataset, block)
    if window is not None:
        return _read_padded(dataset, window, nodata)
    return _warped(dataset, block, nodata, content)


def _own_pixels(dataset: rasterio.DatasetReader, block: Block) -> Window | None:
    to_pixel = ~dataset.transform @ block.transform
    corner = (to_pixel.c, to_pixel.f)
    is_same = (
        dataset.crs == rasterio.CRS.from_user_input(block.crs)
        and np.allclose((to_pixel.a, to_pixel.e, to_pixel.b, to_pixel.d), (1, 1, 0, 0), atol=1e-9)
        and all(abs(value - round(value)) < _ON_LATTICE for value in corner)
    )
    if not is_same:
        return None
    return Window(round(corner[1]), round(corner[0]), block.height, block.width)


def _read_padded(
    dataset: rasterio.DatasetReader, window: Window, nodata: float
) -> Shaped[np.ndarray, "y x"]:
    top, left = max(window.y, 0), max(window.x, 0)
    bottom = min(window.y + window.height, dataset.height)
    right = min(window.x + window.width, dataset.width)
    out = np.full((window.height, window.width), nodata, dataset.dtypes[0])
    if top < bottom and left < right:
        inner = dataset.read(1, window=((top, bottom), (left, right)))
        _replace_nodata(inner, dataset.nodata, nodata)
        rows = slice(top - window.y, bottom - window.y)
        out[rows, left - window.x : right - window.x] = inner
    return out


def _warped(
    dataset: rasterio.DatasetReader, block: Block, nodata: float, content: Content
) -> Shaped[np.ndarray, "y x"]:
    crs = rasterio.CRS.from_user_input(block.crs)
    bounds = rasterio.warp.transform_bounds(crs, dataset.crs, *block.bounds)
    ratio = block.transform.a / _metres(dataset)
    out = np.full((block.height, block.width), nodata, dataset.dtypes[0])
    raster = _around(dataset, bounds, margin=2 + 2 * math.ceil(ratio), nodata=nodata)
    if raster is None:
        return out
    rasterio.warp.reproject(
        raster.array,
        out,
        src_transform=raster.transform,
        src_crs=raster.crs,
        src_nodata=nodata,
        dst_transform=block.transform,
        dst_crs=crs,
        dst_nodata=nodata,
        resampling=_resampling(content, ratio),
        # The exact transform and a fixed kernel, so that a pixel does not depend on its block.
        tolerance=0.0,
        XSCALE=1 / ratio,
        YSCALE=1 / ratio,
    )
    return out


def _replace_nodata(array: Shaped[np.ndarray, "y x"], old: float | None, new: float) -> None:
    if np.issubdtype(array.dtype, np.floating):
        array[~np.isfinite(array)] = new
    if old is not None and old != new:
        array[array == old] = new


def _metres(dataset: rasterio.DatasetReader) -> float:
    side = float(dataset.res[0])
    return side * METRES_PER_DEGREE if dataset.crs.is_geographic else side


def _around(
    dataset: rasterio.DatasetReader, bounds: tuple[float, ...], margin: int, nodata: float
) -> _Raster | None:
    to_pixel = ~dataset.transform
    columns, rows = zip(*(to_pixel @ corner for corner in (bounds[:2], bounds[2:])), strict=True)
    left, right = max(math.floor(min(columns)) - margin, 0), math.ceil(max(columns)) + margin
    top, bottom = max(math.floor(min(rows)) - margin, 0), math.ceil(max(rows)) + margin
    right, bottom = min(right, dataset.width), min(bottom, dataset.height)
    if left >= right or top >= bottom:
        return None
    array = _read_padded(dataset, Window(top, left, bottom - top, right - left), nodata)
    transform = dataset.transform @ Affine.translation(left, top)
    return _Raster(array, transform, dataset.crs, nodata)


def _resampling(content: Content, ratio: float) -> Resampling:
    if content == "classes":
        return Resampling.mode if ratio > _COARSER else Resampling.nearest
    return Resampling.average if ratio > _COARSER else Resampling.bilinear


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _QUERY.sub("", lines[0])[:300]
