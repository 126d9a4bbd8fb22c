"""What a user would do without us: a random forest on single pixels, trained on the same labels."""

from functools import partial

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from pydantic import JsonValue
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import (
    CONFIDENCE,
    LANDCOVER,
    finish_levels,
    levels,
    map_layout,
    write_coverage,
    write_layers,
)
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table

VERSION = 2
TREES = 200


def make_baseline(
    cube_path: AnyLocation, labels_path: AnyLocation, out: AnyLocation, seed: int
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
            "trees": TREES,
            "seed": seed,
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
    attributes = {"title": "Land cover by a random forest on pixels"}
    layout = map_layout(cube.spec.grids, labels.legend, attributes)
    forest = _trained(cube, labels, seed)
    keys = [tile.key for grid in cube.spec.grids for tile in grid.tiles]
    tiles: list[dict[str, JsonValue]] = [{"key": key, "status": "done"} for key in keys]
    tables = {TILES: records_table(tiles), **cube.scenes}
    Store.create(out, plan, layout, tables, partial(_fill, cube, forest))


def _trained(cube: Cube, labels: Classes, seed: int) -> RandomForestClassifier:
    samples, classes = [], []
    for grid in cube.spec.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            reference = labels.read(grid.zone, window)
            chosen = reference != UNLABELLED
            if chosen.any():
                samples.append(_features(cube, grid, window)[chosen])
                classes.append(reference[chosen])
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    return forest.fit(np.concatenate(samples), np.concatenate(classes))


def _fill(cube: Cube, forest: RandomForestClassifier, store: Store) -> None:
    for grid in cube.spec.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            classes, shares = _mapped(forest, _features(cube, grid, window))
            is_seen = _is_seen(cube, grid, window)
            landcover = np.where(is_seen, classes, np.uint8(UNLABELLED))
            layers = {LANDCOVER: landcover, CONFIDENCE: levels(shares, is_seen)}
            write_layers(store, tile, window, layers)
        finish_levels(store, grid)
        write_coverage(store, grid, {tile.key: "done" for tile in grid.tiles})


def _mapped(
    forest: RandomForestClassifier, features: Float32[np.ndarray, "y x feature"]
) -> tuple[UInt8[np.ndarray, "y x"], Float64[np.ndarray, "y x"]]:
    height, width, count = features.shape
    probabilities = forest.predict_proba(features.reshape(-1, count))
    classes = forest.classes_.astype(np.uint8)[probabilities.argmax(1)]
    return classes.reshape(height, width), probabilities.max(1).reshape(height, width)


def _features(cube: Cube, grid: Grid, window: Window) -> Float32[np.ndarray, "y x feature"]:
    planes = []
    places = cube.wanted([band.name for band in cube.bands()])
    for time in range(len(cube.spec.periods)):
        for stored in cube.read(grid.zone, time, places, window).values():
            factor = window.height // stored.shape[1]
            planes += [*np.repeat(np.repeat(stored, factor, 1), factor, 2).astype(np.float32)]
    return np.stack(planes, axis=-1)


def _is_seen(cube: Cube, grid: Grid, window: Window) -> np.ndarray:
    is_seen = np.zeros((window.height, window.width), np.bool_)
    for sensor in cube.spec.sensors:
        path = f"{grid.zone}/r10m/n_valid_{sensor.array}"
        for time in range(len(cube.spec.periods)):
            is_seen |= cube.store.read(path, (time,), window) > 0
    return is_seen
