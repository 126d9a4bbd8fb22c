"""Scenes as canonical observations on a block of pixels."""

import numpy as np
from jaxtyping import Bool, Float32, UInt16

from sscl_geo.geo.grid import Block
from sscl_geo.geo.scene import Scene
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.ops.masks import is_clear
from sscl_geo.ops.scaling import harmonised, is_power

_SAR_NODATA = -32768.0


def clear(reader: GeoTiffReader, scene: Scene, block: Block) -> Bool[np.ndarray, "y x"]:
    """Return where a scene saw the ground by its Scene Classification Layer; everywhere if none."""
    if scene.mask_href is None:
        return np.ones((block.height, block.width), np.bool_)
    return is_clear(reader.read(scene.mask_href, block, 0, "classes"))


def reflectance(
    reader: GeoTiffReader, scene: Scene, band: str, block: Block
) -> UInt16[np.ndarray, "y x"]:
    """Return a band as canonical DN (reflectance x 10000 + 1000), nodata 0."""
    dn = reader.read(scene.href(band), block, 0, "continuous").astype(np.uint16, copy=False)
    return harmonised(dn, scene.harmonise)


def power(
    reader: GeoTiffReader, scene: Scene, band: str, block: Block
) -> Float32[np.ndarray, "y x"]:
    """Return a polarisation in linear power, NaN where it is no observation."""
    read = reader.read(scene.href(band), block, _SAR_NODATA, "continuous")
    samples = read.astype(np.float32, copy=False)
    samples[~is_power(samples, _SAR_NODATA)] = np.nan
    return samples
