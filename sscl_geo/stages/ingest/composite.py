"""One unit of ingest: read its scenes block by block, composite, write whole shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from sscl_geo import plugins
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import CHUNK_PX, Grid, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.io.observations import clear, power, reflectance
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import Signing, signer
from sscl_geo.io.store import Store
from sscl_geo.ops.masks import refined
from sscl_geo.ops.power import PowerMean
from sscl_geo.ops.scaling import centidecibel
from sscl_geo.runtime.work import Evidence
from sscl_geo.stages.ingest.plan import IngestUnit

BLOCK_PX = CHUNK_PX
"""Side, at 10 m, of the blocks in which a tile is read and composited. Every tile is a whole number
of them, so that a pixel is resampled in the same block whatever the tile size."""

MOST_COUNTED = 255


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        out: Absolute path of the cube.
        spec: Its schema.
        signing: Who signs asset addresses.
        compositor: Name of the compositor plugin.
    """

    out: Path
    spec: CubeSpec
    signing: Signing
    compositor: str


class Composite(NamedTuple):
    """What scenes become: pixels `(band, y, x)` of each cube group, and observation counts."""

    pixels: dict[str, Shaped[np.ndarray, "_ _ _"]]
    valid: UInt8[np.ndarray, "y x"]


def composite_unit(job: Job, unit: IngestUnit) -> Evidence:
    """Make one tile over one period and tell what it is made of.

    Raises:
        ReadError: A scene could not be read, or the store's disk lies.
    """
    store = Store.open(job.out, "cube")
    checksums: Evidence = {}
    with GeoTiffReader(signer(job.signing)) as reader:
        for sensor in job.spec.sensors:
            scenes = [scene for scene in unit.scenes if scene.sensor == sensor.name]
            if scenes:
                checksums |= _write(store, sensor, unit, _tile(job, unit, sensor, scenes, reader))
    optical = [scene for scene in unit.scenes if scene.witness]
    return {
        "empty": not unit.scenes,
        "scenes": [scene.id for scene in unit.scenes],
        "unmasked": [scene.id for scene in optical if scene.mask_href is None],
        "harmonised": {scene.id: [scene.harmonise, scene.witness] for scene in optical},
        "orbits": [*sorted({scene.orbit for scene in unit.scenes if not scene.witness})],
        "checksums": checksums,
    }


def unit_bytes(spec: CubeSpec, scenes: Sequence[Scene]) -> int:
    """Return the most bytes that one unit holds: its tile, and one band of every scene's block."""
    tile_px = max(grid.tile_px for grid in spec.grids)
    bands = sum(
        len(bands) * (10 / GROUP_GSD[group]) ** 2
        for sensor in spec.sensors
        for group, bands in sensor.groups.items()
    )
    return int(2 * tile_px**2 * (bands + len(spec.sensors)) + 4 * len(scenes) * BLOCK_PX**2)


def _write(store: Store, sensor: Sensor, unit: IngestUnit, composite: Composite) -> Evidence:
    arrays = {f"{group}/{sensor.array}": data for group, data in composite.pixels.items()}
    arrays[f"r10m/n_valid_{sensor.array}"] = composite.valid
    return {
        path: store.write(
            f"{unit.tile.zone}/{path}",
            (unit.time,),
            unit.window.at(GROUP_GSD[path.split("/")[0]]),
            data,
        )
        for path, data in arrays.items()
    }


def _tile(
    job: Job, unit: IngestUnit, sensor: Sensor, scenes: Sequence[Scene], reader: GeoTiffReader
) -> Composite:
    grid, window = job.spec.grid(unit.tile.zone), unit.window
    pixels = {
        group: np.full((len(bands), *window.at(GROUP_GSD[group])[2:]), sensor.nodata, sensor.dtype)
        for group, bands in sensor.groups.items()
    }
    valid = np.zeros((window.height, window.width), np.uint8)
    for block in _blocks(window):
        view = _View(reader, grid, block)
        part = (
            _optical(job, sensor, scenes, view)
            if sensor.kind == "optical"
            else _sar(sensor, scenes, view)
        )
        inner = Window(block.y - window.y, block.x - window.x, block.height, block.width)
        for group, data in part.pixels.items():
            pixels[group][:, *inner.at(GROUP_GSD[group]).slices] = data
        valid[inner.slices] = part.valid
    return Composite(pixels, valid)


class _View(NamedTuple):
    """A block of a grid, and what reads it."""

    reader: GeoTiffReader
    grid: Grid
    window: Window

    def stack(self, scenes: Sequence[Scene], band: str, group: str) -> Shaped[np.ndarray, "t y x"]:
        gsd = GROUP_GSD[group]
        block = self.grid.block(self.window.at(gsd), gsd)
        return np.stack([reflectance(self.reader, scene, band, block) for scene in scenes])


def _blocks(window: Window) -> Iterator[Window]:
    for y in range(window.y, window.y + window.height, BLOCK_PX):
        for x in range(window.x, window.x + window.width, BLOCK_PX):
            height = min(BLOCK_PX, window.y + window.height - y)
            yield Window(y, x, height, min(BLOCK_PX, window.x + window.width - x))


def _optical(job: Job, sensor: Sensor, scenes: Sequence[Scene], view: _View) -> Composite:
    reduce = plugins.find("sscl_geo.ops.compositors", job.compositor).composite
    coarse = view.grid.block(view.window.at(20), 20)
    is_clear = {"r20m": np.stack([clear(view.reader, scene, coarse) for scene in scenes])}
    is_clear["r10m"] = np.stack([refined(mask, 2) for mask in is_clear["r20m"]])
    seen = is_clear["r10m"].copy()
    pixels = {}
    for group, bands in sensor.groups.items():
        composites = []
        for band in bands:
            stack = view.stack(scenes, band.name, group)
            stack[~is_clear[group]] = sensor.nodata
            if group == "r10m":
                seen &= stack != sensor.nodata
            composites.append(reduce(stack))
        pixels[group] = np.stack(composites)
    return Composite(pixels, np.minimum(seen.sum(axis=0), MOST_COUNTED).astype(np.uint8))


def _sar(sensor: Sensor, scenes: Sequence[Scene], view: _View) -> Composite:
    block = view.grid.block(view.window)
    means = [PowerMean(block.height, block.width) for _ in sensor.bands]
    for scene in scenes:
        for band, mean in zip(sensor.bands, means, strict=True):
            mean.add(power(view.reader, scene, band.name, block))
    decibel = np.stack([centidecibel(mean.mean, sensor.nodata) for mean in means])
    return Composite({"r10m": decibel}, np.minimum.reduce([mean.count for mean in means]))
