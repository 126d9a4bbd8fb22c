"""Scenes as canonical observations on a block of pixels."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block
from sscl_geo.geo.scene import Scene
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.trust import redacted
from sscl_geo.ops.scaling import harmonised, is_power

Out = Shaped[np.ndarray, "y x"] | None
Observe = Callable[[GeoTiffReader, Scene, Block, Out], Shaped[np.ndarray, "y x"]]
"""What reads a scene on a block. It may fill and return the last argument, or return another."""

_SAR_NODATA = -32768.0
UNCLASSIFIED = 7


def scene_classes(
    reader: GeoTiffReader, scene: Scene, block: Block, out: Out
) -> UInt8[np.ndarray, "y x"]:
    """Return a scene's Scene Classification Layer; 0 is nodata.

    Of a scene without one, what it saw is unclassified (7).
    """
    if scene.mask_href is None:
        _, first = scene.hrefs[0]
        seen = reader.read(first, block, 0, "continuous") != 0
        return np.where(seen, np.uint8(UNCLASSIFIED), np.uint8(0))
    return reader.read(scene.mask_href, block, 0, "classes", out)


def reflectance(band: str) -> Observe:
    """Return what reads a band as canonical DN (reflectance x 10000 + 1000), nodata 0, uint16."""

    def read(
        reader: GeoTiffReader, scene: Scene, block: Block, out: Out
    ) -> UInt16[np.ndarray, "y x"]:
        dn = reader.read(scene.href(band), block, 0, "continuous", out)
        if dn.dtype not in (np.uint8, np.uint16):
            raise ReadError(
                f"{redacted(scene.href(band))} holds {dn.dtype}, not digital numbers (uint16)",
                is_permanent=True,
            )
        return harmonised(dn.astype(np.uint16, copy=False), scene.harmonise)

    return read


def power(band: str) -> Observe:
    """Return what reads a polarisation in linear power, NaN where it is no observation, float32."""

    def read(
        reader: GeoTiffReader, scene: Scene, block: Block, out: Out
    ) -> Float32[np.ndarray, "y x"]:
        samples = reader.read(scene.href(band), block, _SAR_NODATA, "power", out)
        samples = samples.astype(np.float32, copy=False)
        samples[~is_power(samples, _SAR_NODATA)] = np.nan
        return samples

    return read
