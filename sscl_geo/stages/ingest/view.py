"""A part of a tile, as the scenes of a day show it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block, Grid, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.io.observations import Observe, Out
from sscl_geo.io.readers.geotiff import GeoTiffReader


class SceneError(ReadError):
    """A scene could not be read.

    Attributes:
        scene: The scene's id.
    """

    def __init__(self, scene: str, cause: ReadError) -> None:
        super().__init__(f"{scene}: {cause}", cause.is_permanent)
        self.scene = scene


class View(NamedTuple):
    """A window of a grid and what reads it.

    Attributes:
        reader: Reads scenes.
        grid: The grid.
        window: Pixels at 10 m.
    """

    reader: GeoTiffReader
    grid: Grid
    window: Window

    def block(self, gsd: int, margin: int = 0) -> Block:
        """Return the window's ground in pixels of `gsd` metres, with a margin of such pixels."""
        return self.grid.block(self.window.at(gsd).grown(margin), gsd)

    def mosaic(
        self,
        day: Sequence[Scene],
        read: Observe,
        nodata: float,
        block: Block,
        out: Out = None,
    ) -> Shaped[np.ndarray, "y x"]:
        """Return a day's pixels: each from the first scene, by time and id, that has it.

        If `out` is given, it is filled; what is returned is that or has the same content.

        Raises:
            SceneError: A scene could not be read.
        """
        mosaic = self._read(day[0], read, block, out)
        for scene in day[1:]:
            is_hole = np.isnan(mosaic) if np.isnan(nodata) else mosaic == nodata
            if not is_hole.any():
                break
            np.copyto(mosaic, self._read(scene, read, block, None), where=is_hole)
        if out is not None and mosaic is not out:
            out[...] = mosaic
        return mosaic

    def _read(
        self, scene: Scene, read: Observe, block: Block, out: Out
    ) -> Shaped[np.ndarray, "y x"]:
        try:
            return read(self.reader, scene, block, out)
        except ReadError as error:
            raise SceneError(scene.id, error) from None
