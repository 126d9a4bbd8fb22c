"""A file's own pixels, also those beyond its edge."""

import numpy as np
import rasterio
from jaxtyping import Shaped

from sscl_geo.geo.grid import Block, Window

_ON_LATTICE = 1e-3
"""A block whose corner is this close to a pixel's corner, in pixels, needs no resampling."""


def own_window(dataset: rasterio.DatasetReader, block: Block) -> Window | None:
    """Return a block as a window of a file, which may reach beyond it; None where pixels differ."""
    to_pixel = ~dataset.transform @ block.transform
    corner = (to_pixel.c, to_pixel.f)
    is_same = (
        np.allclose((to_pixel.a, to_pixel.e, to_pixel.b, to_pixel.d), (1, 1, 0, 0), atol=1e-9)
        and all(abs(value - round(value)) < _ON_LATTICE for value in corner)
        and dataset.crs == rasterio.CRS.from_user_input(block.crs)
    )
    if not is_same:
        return None
    return Window(round(corner[1]), round(corner[0]), block.height, block.width)


def read_padded(
    dataset: rasterio.DatasetReader,
    window: Window,
    nodata: float,
    out: Shaped[np.ndarray, "y x"] | None = None,
) -> Shaped[np.ndarray, "y x"]:
    """Return the first band in a window, in one read, with `nodata` for what has none.

    If `out`, of the file's type, is given, it is filled and returned: fresh memory costs as much as
    a third of the decoding.
    """
    inside = window.intersection(Window(0, 0, *dataset.shape))
    if inside == window:
        whole: np.ndarray = dataset.read(1, window=window.slices, out=out)
        _replace_nodata(whole, dataset.nodata, nodata)
        return whole
    if out is None:
        out = np.empty((window.height, window.width), dataset.dtypes[0])
    out[...] = nodata
    if inside.is_empty:
        return out
    found: np.ndarray = dataset.read(1, window=inside.slices)
    _replace_nodata(found, dataset.nodata, nodata)
    out[inside.within(window).slices] = found
    return out


def thinned(dataset: rasterio.DatasetReader, longest_px: int) -> Shaped[np.ndarray, "y x"]:
    """Return the first band with at most `longest_px` pixels a side, from an overview if it can."""
    step = max(1.0, max(dataset.shape) / longest_px)
    pixels: np.ndarray = dataset.read(
        1, out_shape=tuple(max(1, int(side / step)) for side in dataset.shape)
    )
    return pixels


def _replace_nodata(array: Shaped[np.ndarray, "y x"], old: float | None, new: float) -> None:
    if np.issubdtype(array.dtype, np.floating):
        array[~np.isfinite(array)] = new
    if old is not None and old != new:
        array[array == old] = new
