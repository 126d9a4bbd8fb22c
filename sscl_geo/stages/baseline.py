"""What a user would do without us: a random forest, trained on the same labels."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field, JsonValue, PositiveInt
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import (
    MARGIN,
    PROBABILITY,
    SECOND,
    finish_levels,
    layers_of,
    levels,
    map_layout,
    write_coverage,
    write_layers,
)
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.ops.blending import Blended, two_greatest
from sscl_geo.ops.context import with_context

VERSION = 3
ROWS = 256
"""Rows of a tile that are described at once."""

ALIGNMENT = 2
"""Pixels of 10 m in one of 20 m, at which what is read begins and ends."""


class ForestRequest(Frozen):
    """How the forest learns and what its map keeps.

    Attributes:
        trees: Number of trees.
        context: Sides in pixels of squares whose mean and spread are features too.
        seed: Seed of the forest.
        has_probabilities: Whether the map keeps the probability of every class.
    """

    trees: int = Field(default=200, ge=1)
    context: tuple[PositiveInt, ...] = ()
    seed: int = Field(default=0, ge=0)
    has_probabilities: bool = False

    @property
    def reach(self) -> int:
        """How many pixels around a pixel decide its features, aligned."""
        return -(-(max(self.context, default=1) // 2) // ALIGNMENT) * ALIGNMENT


def make_baseline(
    cube_path: AnyLocation, labels_path: AnyLocation, out: AnyLocation, request: ForestRequest
) -> None:
    """Map a cube with a random forest on its bands at each pixel, all periods side by side.

    Bands coarser than 10 m are repeated. Pixels with a missing band take part with the stored
    nodata value, as they would in a user's array. Nothing stands at `out` unless it is whole.

    Raises:
        InvalidInputError: Cube and labels lie on different grids, or `out` is something else.
        PlanConflictError: Another command made what stands at `out`.
    """
    cube, labels = Cube.open(cube_path), Classes.open(labels_path, "labels")
    labels.check_grids(cube.spec.grids, cube_path)
    plan = Plan(
        kind="map",
        stage_version=VERSION,
        arguments={
            "cube": cube.store.plan.digest,
            "labels": labels.store.plan.digest,
            "baseline": "random forest",
            **request.model_dump(mode="json"),
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in cube.spec.grids],
            "legend": labels.legend.model_dump(mode="json"),
            **cube.spec.provenance,
        },
    )
    existing = read_plan(out)
    if existing is not None:
        existing.check(plan, out)
        return
    extra = (SECOND, MARGIN, *([PROBABILITY] if request.has_probabilities else []))
    attributes = {"title": "Land cover by a random forest"}
    layout = map_layout(cube.spec.grids, labels.legend, attributes, extra)
    job = _Job(cube, labels, request)
    keys = [tile.key for grid in cube.spec.grids for tile in grid.tiles]
    tiles: list[dict[str, JsonValue]] = [{"key": key, "status": "done"} for key in keys]
    tables = {TILES: records_table(tiles), **cube.scenes}
    Store.create(out, plan, layout, tables, partial(_fill, job, _trained(job)))


class _Job(NamedTuple):
    cube: Cube
    labels: Classes
    request: ForestRequest


def _trained(job: _Job) -> RandomForestClassifier:
    samples, classes = [], []
    for grid in job.cube.spec.grids:
        for tile in grid.tiles:
            for window in _strips(grid.window(tile)):
                reference = job.labels.read(grid.zone, window)
                chosen = reference != UNLABELLED
                if chosen.any():
                    samples.append(_features(job, grid, window)[:, chosen].T)
                    classes.append(reference[chosen])
    forest = RandomForestClassifier(job.request.trees, random_state=job.request.seed, n_jobs=-1)
    return forest.fit(np.concatenate(samples), np.concatenate(classes))


def _fill(job: _Job, forest: RandomForestClassifier, store: Store) -> None:
    legend = job.labels.legend
    for grid in job.cube.spec.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            shares = np.concatenate(
                [_probabilities(job, forest, grid, strip) for strip in _strips(window)], 1
            )
            found = Blended(*two_greatest(shares), shares, _is_seen(job.cube, grid, window))
            layers = layers_of(found, legend)
            if job.request.has_probabilities:
                layers[PROBABILITY] = levels(shares, found.is_seen)
            write_layers(store, tile, window, layers)
        finish_levels(store, grid)
        write_coverage(store, grid, {tile.key: "done" for tile in grid.tiles})


def _strips(window: Window) -> Iterator[Window]:
    for top in range(0, window.height, ROWS):
        height = min(ROWS, window.height - top)
        yield window._replace(y=window.y + top, height=height)


def _probabilities(
    job: _Job, forest: RandomForestClassifier, grid: Grid, window: Window
) -> Float32[np.ndarray, "class y x"]:
    """Return the probability of every class of the legend, 0 for one that no label taught."""
    features = _features(job, grid, window)
    found = forest.predict_proba(features.reshape(len(features), -1).T)
    shares = np.zeros((len(job.labels.legend.classes), window.height * window.width), np.float32)
    shares[job.labels.legend.indices(forest.classes_)] = found.T
    return shares.reshape(-1, window.height, window.width)


def _features(job: _Job, grid: Grid, window: Window) -> Float32[np.ndarray, "feature y x"]:
    """Return the stored numbers of all bands and periods, and of the squares around."""
    cube, context = job.cube, job.request.context
    around = _around(window, grid, job.request.reach)
    planes = []
    places = cube.wanted([band.name for band in cube.bands()])
    for time in range(len(cube.spec.periods)):
        for stored in cube.read(grid.zone, time, places, around).values():
            factor = around.height // stored.shape[1]
            planes.append(np.repeat(np.repeat(stored, factor, 1), factor, 2).astype(np.float32))
    inner = window._replace(y=window.y - around.y, x=window.x - around.x)
    return with_context(np.concatenate(planes), context)[:, *inner.slices]


def _around(window: Window, grid: Grid, reach: int) -> Window:
    """Return a window and what is around it, where the grid has pixels."""
    top, left = max(window.y - reach, 0), max(window.x - reach, 0)
    bottom = min(window.y + window.height + reach, grid.shape[0])
    right = min(window.x + window.width + reach, grid.shape[1])
    return Window(top, left, bottom - top, right - left)


def _is_seen(cube: Cube, grid: Grid, window: Window) -> Bool[np.ndarray, "y x"]:
    is_seen = np.zeros((window.height, window.width), np.bool_)
    for sensor in cube.spec.sensors:
        path = f"{grid.zone}/r10m/n_valid_{sensor.array}"
        for time in range(len(cube.spec.periods)):
            is_seen |= cube.store.read(path, (time,), window) > 0
    return is_seen
