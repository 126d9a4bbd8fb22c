"""A random forest on bands, all periods side by side: what it learns from, and what it says."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import Field, PositiveInt
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.ops.blending import Blended, two_greatest
from sscl_geo.ops.context import with_context
from sscl_geo.sensors import nodata_of

ROWS = 256
"""Rows of a tile that are described at once."""

ALIGNMENT = 2
"""Pixels of 10 m in one of 20 m, at which what is read begins and ends."""

MOST_PIXELS = 250_000
"""Labelled pixels of all tiles that a forest learns from; two hundred trees on them hold 2 GB."""

COPIES = 3
"""Arrays of a strip's features that are held at a time."""


class ForestRequest(Frozen):
    """How the forest learns and what its map keeps.

    Attributes:
        trees: Number of trees.
        context: Sides in pixels of squares whose mean and spread are features too.
        pixels: Most labelled pixels of a tile that it learns from, drawn by the seed; fewer where
            tiles together have more than `MOST_PIXELS`.
        seed: Seed of the forest.
        has_probabilities: Whether the map keeps the probability of every class.
    """

    trees: int = Field(default=200, ge=1)
    context: tuple[PositiveInt, ...] = ()
    pixels: int = Field(default=100_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    has_probabilities: bool = False

    @property
    def reach(self) -> int:
        """How many pixels around a pixel decide its features, aligned."""
        return -(-(max(self.context, default=1) // 2) // ALIGNMENT) * ALIGNMENT


class Described(NamedTuple):
    """A cube as a forest sees it: the stored numbers of all bands and periods, and of squares.

    Bands coarser than 10 m are repeated. Pixels with a missing band take part with the stored
    nodata value, as they would in a user's array; squares around a pixel leave it out.

    Attributes:
        cube: The cube.
        request: What the forest sees of it.
    """

    cube: Cube
    request: ForestRequest

    def features(self, grid: Grid, window: Window) -> Float32[np.ndarray, "feature y x"]:
        """Return the features of a window's pixels."""
        cube = self.cube
        around = window.grown(self.request.reach).intersection(Window(0, 0, *grid.shape))
        planes, valid = [], []
        places = cube.wanted([band.name for band in cube.bands()])
        nodata = nodata_of(cube.bands())
        for time in range(len(cube.spec.periods)):
            for key, stored in cube.read(grid.zone, time, places, around).items():
                factor = around.height // stored.shape[1]
                fine = np.repeat(np.repeat(stored, factor, 1), factor, 2)
                planes.append(fine.astype(np.float32))
                valid.append(fine != nodata[key])
        described = with_context(
            np.concatenate(planes), self.request.context, np.concatenate(valid)
        )
        return described[:, *window.within(around).slices]

    def is_seen(self, grid: Grid, window: Window) -> Bool[np.ndarray, "y x"]:
        """Return where any sensor saw anything in any period."""
        is_seen = np.zeros((window.height, window.width), np.bool_)
        for sensor in self.cube.spec.sensors:
            path = f"{grid.zone}/r10m/n_valid_{sensor.array}"
            for time in range(len(self.cube.spec.periods)):
                is_seen |= self.cube.store.read(path, (time,), window) > 0
        return is_seen

    def strip_bytes(self, tile_px: int) -> int:
        """Return the most bytes that the features of a strip of a tile take."""
        bands = len(self.cube.bands()) * len(self.cube.spec.periods)
        features = bands * (1 + 2 * len(self.request.context))
        rows, columns = ROWS + 2 * self.request.reach, tile_px + 2 * self.request.reach
        return COPIES * 4 * features * rows * columns


def learned(described: Described, labels: Classes) -> RandomForestClassifier:
    """Return the forest that learned the labels of all tiles; equal for equal input.

    Raises:
        InvalidInputError: No label lies on what was seen, or a label is not the legend's.
    """
    most = _most(described, labels)
    parts = [
        part
        for number, (grid, window) in enumerate(_windows(described.cube))
        for part in _labelled(described, labels, grid, window, number, most)
    ]
    if not parts:
        raise InvalidInputError(f"{labels.path}: no labelled pixel lies on what the cube saw")
    samples, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    request = described.request
    forest = RandomForestClassifier(request.trees, random_state=request.seed, n_jobs=-1)
    return forest.fit(samples, classes)


def said(
    described: Described, forest: RandomForestClassifier, legend: Legend, grid: Grid, window: Window
) -> Blended:
    """Return what a forest says of a window; 0 for a class that no label taught."""
    shares = np.zeros((len(legend.classes), window.height, window.width), np.float32)
    taught = legend.indices(forest.classes_)
    for strip in window.blocks(ROWS, window.width):
        features = described.features(grid, strip)
        pixels = np.ascontiguousarray(features.reshape(len(features), -1).T)
        found = forest.predict_proba(pixels).T.reshape(-1, strip.height, strip.width)
        rows, _ = strip.within(window).slices
        shares[taught, rows] = found
    return Blended(*two_greatest(shares), shares, described.is_seen(grid, window))


def _most(described: Described, labels: Classes) -> int:
    """Return how many labelled pixels of a tile to learn from, so that all together fit."""
    read = (labels.read(grid.zone, window) for grid, window in _windows(described.cube))
    counts = np.array([np.count_nonzero(reference != UNLABELLED) for reference in read])
    most = described.request.pixels
    while np.minimum(counts, most).sum() > MOST_PIXELS:
        most = most * MOST_PIXELS // int(np.minimum(counts, most).sum())
    return max(most, 1)


def _windows(cube: Cube) -> Iterator[tuple[Grid, Window]]:
    for grid in cube.spec.grids:
        for tile in grid.tiles:
            yield grid, grid.window(tile)


def _labelled(
    described: Described, labels: Classes, grid: Grid, window: Window, number: int, most: int
) -> Iterator[tuple[Float32[np.ndarray, "pixel feature"], UInt8[np.ndarray, " pixel"]]]:
    """Yield features and classes of a tile's labelled pixels, strip by strip."""
    reference = labels.read(grid.zone, window)
    if not reference.any():
        return
    labels.legend.check(reference, labels.path)
    places = np.flatnonzero((reference != UNLABELLED) & described.is_seen(grid, window))
    if len(places) > most:
        drawn = np.random.default_rng([described.request.seed, number])
        places = drawn.choice(places, most, replace=False)
    chosen = np.zeros(reference.shape, np.bool_)
    chosen.ravel()[places] = True
    for strip in window.blocks(ROWS, window.width):
        rows, _ = strip.within(window).slices
        if chosen[rows].any():
            yield described.features(grid, strip)[:, chosen[rows]].T, reference[rows][chosen[rows]]
