"""What a user would do without us: a random forest, trained on the same labels."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import Field, JsonValue, PositiveInt
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid, Tile, Window
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import (
    MARGIN,
    PROBABILITY,
    SECOND,
    finish_levels,
    layers_of,
    map_layout,
    write_coverage,
    write_layers,
)
from sscl_geo.io.plan import SOURCES, Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.ops.blending import Blended, two_greatest
from sscl_geo.ops.context import with_context
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Outcome
from sscl_geo.sensors import nodata_of

VERSION = 4
ROWS = 256
"""Rows of a tile that are described at once."""

ALIGNMENT = 2
"""Pixels of 10 m in one of 20 m, at which what is read begins and ends."""


MOST_PIXELS = 2_000_000
"""Labelled pixels of all tiles that a forest learns from; two hundred trees on them hold 16 GB."""


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


def make_baseline(
    cube_path: AnyLocation, labels_path: AnyLocation, out: AnyLocation, request: ForestRequest
) -> None:
    """Map a cube with a random forest on its bands, all periods side by side.

    Bands coarser than 10 m are repeated. Pixels with a missing band take part with the stored
    nodata value, as they would in a user's array; squares around a pixel leave it out. Nothing
    stands at `out` unless it is whole.

    Raises:
        InvalidInputError: Cube and labels lie on different grids, nothing is labelled, a label is
            not the legend's, or `out` is something else.
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
        outcomes = Ledger(journal(out)).outcomes
        if any(one.status == "failed" for one in outcomes.values()):
            raise InvalidInputError(f"{out}: tiles are damaged; delete it, and make it again")
        return
    extra = (SECOND, MARGIN, *([PROBABILITY] if request.has_probabilities else []))
    attributes = {"title": "Land cover by a random forest"}
    layout = map_layout(cube.spec.grids, labels.legend, attributes, extra)
    job = _Job(cube, labels, request)
    sources = json.dumps({"cube": str(cube.path.resolve())}).encode()
    tables = {SOURCES: sources, **cube.scenes}
    Store.create(out, plan, layout, tables, partial(_fill, job, _trained(job)))


class _Job(NamedTuple):
    cube: Cube
    labels: Classes
    request: ForestRequest


def _trained(job: _Job) -> RandomForestClassifier:
    most = _most(job)
    parts = [
        part
        for number, (grid, window) in enumerate(_windows(job.cube))
        for part in _labelled(job, grid, window, number, most)
    ]
    if not parts:
        message = f"{job.labels.path}: no labelled pixel lies on what the cube saw"
        raise InvalidInputError(message)
    samples, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    forest = RandomForestClassifier(job.request.trees, random_state=job.request.seed, n_jobs=-1)
    return forest.fit(samples, classes)


def _most(job: _Job) -> int:
    """Return how many labelled pixels of a tile to learn from, so that all together fit."""
    labels = (job.labels.read(grid.zone, window) for grid, window in _windows(job.cube))
    counts = np.array([np.count_nonzero(reference != UNLABELLED) for reference in labels])
    most = job.request.pixels
    while np.minimum(counts, most).sum() > MOST_PIXELS:
        most = most * MOST_PIXELS // int(np.minimum(counts, most).sum())
    return max(most, 1)


def _tiles(cube: Cube) -> Iterator[tuple[Grid, Tile]]:
    for grid in cube.spec.grids:
        for tile in grid.tiles:
            yield grid, tile


def _windows(cube: Cube) -> Iterator[tuple[Grid, Window]]:
    for grid, tile in _tiles(cube):
        yield grid, grid.window(tile)


def _labelled(
    job: _Job, grid: Grid, window: Window, number: int, most: int
) -> Iterator[tuple[Float32[np.ndarray, "pixel feature"], UInt8[np.ndarray, " pixel"]]]:
    """Yield features and classes of a tile's labelled pixels, strip by strip."""
    reference = job.labels.read(grid.zone, window)
    job.labels.legend.check(reference, job.labels.path)
    is_seen = _is_seen(job.cube, grid, window)
    places = np.flatnonzero((reference != UNLABELLED) & is_seen)
    if len(places) > most:
        drawn = np.random.default_rng([job.request.seed, number])
        places = drawn.choice(places, most, replace=False)
    chosen = np.zeros(reference.shape, np.bool_)
    chosen.ravel()[places] = True
    for strip in _strips(window):
        rows = slice(strip.y - window.y, strip.y - window.y + strip.height)
        if chosen[rows].any():
            yield _features(job, grid, strip)[:, chosen[rows]].T, reference[rows][chosen[rows]]


def _fill(job: _Job, forest: RandomForestClassifier, store: Store) -> None:
    ledger = Ledger(journal(store.path))
    for grid, tile in _tiles(job.cube):
        window = grid.window(tile)
        shares = np.concatenate(
            [_probabilities(job, forest, grid, strip) for strip in _strips(window)], 1
        )
        found = Blended(*two_greatest(shares), shares, _is_seen(job.cube, grid, window))
        layers = layers_of(
            found, job.labels.legend, has_probabilities=job.request.has_probabilities
        )
        checksums: JsonValue = {**write_layers(store, tile, window, layers)}
        status: Literal["done", "empty"] = "done" if found.is_seen.any() else "empty"
        evidence = {"empty": status == "empty", "checksums": checksums}
        ledger.append(Outcome(key=tile.key, status=status, evidence=evidence))
    ledger.flush()
    for grid in job.cube.spec.grids:
        finish_levels(store, grid)
        write_coverage(store, grid, {key: one.status for key, one in ledger.outcomes.items()})
    store.put(TILES, records_table([one.record for one in ledger.outcomes.values()]))


def _strips(window: Window) -> Iterator[Window]:
    for top in range(0, window.height, ROWS):
        height = min(ROWS, window.height - top)
        yield window._replace(y=window.y + top, height=height)


def _probabilities(
    job: _Job, forest: RandomForestClassifier, grid: Grid, window: Window
) -> Float32[np.ndarray, "class y x"]:
    """Return the probability of every class of the legend, 0 for one that no label taught."""
    features = _features(job, grid, window)
    pixels = np.ascontiguousarray(features.reshape(len(features), -1).T)
    found = forest.predict_proba(pixels)
    shares = np.zeros((len(job.labels.legend.classes), window.height * window.width), np.float32)
    shares[job.labels.legend.indices(forest.classes_)] = found.T
    return shares.reshape(-1, window.height, window.width)


def _features(job: _Job, grid: Grid, window: Window) -> Float32[np.ndarray, "feature y x"]:
    """Return the stored numbers of all bands and periods, and of the squares around."""
    cube, context = job.cube, job.request.context
    around = _around(window, grid, job.request.reach)
    planes, valid = [], []
    places = cube.wanted([band.name for band in cube.bands()])
    nodata = nodata_of(cube.bands())
    for time in range(len(cube.spec.periods)):
        for key, stored in cube.read(grid.zone, time, places, around).items():
            factor = around.height // stored.shape[1]
            fine = np.repeat(np.repeat(stored, factor, 1), factor, 2)
            planes.append(fine.astype(np.float32))
            valid.append(fine != nodata[key])
    inner = window._replace(y=window.y - around.y, x=window.x - around.x)
    described = with_context(np.concatenate(planes), context, np.concatenate(valid))
    return described[:, *inner.slices]


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
