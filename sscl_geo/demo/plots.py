"""How people have divided the land: blocks, parcels and stands."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32
from scipy.spatial import cKDTree


class Plots(NamedTuple):
    """Parcels in blocks of common direction, with coordinates along and across in pixels."""

    block: Int32[np.ndarray, "y x"]
    parcel: Int32[np.ndarray, "y x"]
    along: Float32[np.ndarray, "y x"]
    across: Float32[np.ndarray, "y x"]


def make_cells(
    rng: np.random.Generator, size_px: int, spacing_px: float
) -> Int32[np.ndarray, "y x"]:
    """Number the Voronoi cells of points about `spacing_px` apart."""
    nodes = np.arange(-spacing_px, size_px + 2 * spacing_px, spacing_px)
    points = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    points = points + rng.uniform(-0.4, 0.4, points.shape) * spacing_px
    pixels = np.indices((size_px, size_px)).reshape(2, -1).T.astype(float)
    _, cell = cKDTree(points).query(pixels)
    return np.asarray(cell, np.int32).reshape(size_px, size_px)


def make_plots(rng: np.random.Generator, size_px: int) -> Plots:
    """Cut the land into blocks of 0.9 km and the blocks into parcels of 140 to 400 m."""
    block = make_cells(rng, size_px, 90)
    count = int(block.max()) + 1
    angle = rng.uniform(0, np.pi, count)[block]
    y, x = np.indices(block.shape)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    column = np.floor(across / rng.uniform(14, 28, count)[block]).astype(np.int64)
    offset = np.modf(np.sin(column * 12.9898 + block) * 43758.5453)[0] * 40
    row = np.floor((along + offset) / rng.uniform(22, 40, count)[block]).astype(np.int64)
    _, parcel = np.unique((block * 4096 + column % 4096) * 4096 + row % 4096, return_inverse=True)
    parcel = parcel.reshape(block.shape).astype(np.int32)
    return Plots(block, parcel, along.astype(np.float32), across.astype(np.float32))
