"""What a map holds: layers at 10 m, their coarser levels, and which of its tiles are there.

A zone's group has one for each level: `r10m`, `r20m` and so on, as the `multiscales` convention of
Zarr says (github.com/zarr-conventions/multiscales, v0.1).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import UInt8

from sscl_geo.geo.grid import CHUNK_PX, GSD, Grid, Tile, Window
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.layout import (
    CONVENTIONS,
    FULL_CONFIDENCE,
    NO_CONFIDENCE,
    ArrayLayout,
    Attributes,
    Layout,
    coordinates,
    flags,
    georeference,
    raster,
    shape_of,
)
from sscl_geo.io.store import Store
from sscl_geo.ops.blending import Blended
from sscl_geo.ops.pyramid import coarser_classes, coarser_levels

LANDCOVER, CONFIDENCE, SECOND, MARGIN = "landcover", "confidence", "second", "margin"
PROBABILITY, COUNTS, COVERAGE = "probability", "n_obs_", "coverage"

TILE_FACTORS: Final = (2, 4, 8)
"""Levels that a tile writes itself: it holds whole chunks of them."""

UNFINISHED, MAPPED, EMPTY, OUTSIDE = range(4)
"""Values of `coverage`."""

_STATES = {"done": MAPPED, "empty": EMPTY}

_URL = "https://raw.githubusercontent.com/zarr-conventions/{}/refs/tags/v0.1/schema.json"
_REGISTERED = {
    "multiscales": "d35379db-88df-4056-af3a-620245f8e347",
    "proj": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
}


def map_layout(
    grids: tuple[Grid, ...],
    legend: Legend,
    attributes: Attributes,
    extra: Sequence[str] = (),
) -> Layout:
    """Return the layout of a map: unsharded, so that GIS can read it; a chunk is a tile.

    Args:
        grids: Its grids, one a zone.
        legend: Its legend.
        attributes: What its root says.
        extra: Layers beside `landcover` and `confidence`.
    """
    groups: dict[str, Attributes] = {"": {"Conventions": CONVENTIONS, **attributes}}
    arrays: list[ArrayLayout] = []
    for grid in grids:
        groups[grid.zone] = _multiscales(grid)
        arrays.append(_coverage(grid))
        for factor in (1, *factors(grid)):
            path = f"{grid.zone}/{level_name(factor)}"
            groups[path] = {**_conventions("proj", "spatial"), **georeference(grid, GSD * factor)}
            arrays += coordinates(path, grid, GSD * factor)
            names = (LANDCOVER, CONFIDENCE, *(extra if factor == 1 else ()))
            arrays += [_layer(grid, name, legend, factor) for name in names]
    return Layout(groups, tuple(arrays))


def level_name(factor: int) -> str:
    """Return the name of the group whose pixels are so many times coarser than 10 m."""
    return f"r{GSD * factor}m"


def layer_path(zone: str, name: str, factor: int = 1) -> str:
    """Return the path of a layer in a map."""
    return f"{zone}/{level_name(factor)}/{name}"


def factors(grid: Grid) -> tuple[int, ...]:
    """Return how much coarser each level of a map is, until one fits a chunk."""
    found = list(TILE_FACTORS)
    while max(grid.shape) > CHUNK_PX * found[-1]:
        found.append(2 * found[-1])
    return tuple(found)


def write_layers(
    store: Store, tile: Tile, window: Window, layers: Mapping[str, UInt8[np.ndarray, "..."]]
) -> dict[str, str]:
    """Write a tile's layers and coarser levels; return checksums by the array's path in the zone.

    Args:
        store: The map.
        tile: The tile.
        window: Its pixels at 10 m.
        layers: Layers at 10 m by name; `probability` is `(class, y, x)`.
    """
    told = {
        f"{level_name(1)}/{name}": store.write(layer_path(tile.zone, name), (), window, layer)
        for name, layer in layers.items()
    }
    for factor in TILE_FACTORS:
        for name in (LANDCOVER, CONFIDENCE):
            level = _coarser(name, layers[name], factor)
            path = f"{level_name(factor)}/{name}"
            inner = layer_window(path, window)
            told[path] = store.write(f"{tile.zone}/{path}", (), inner, level)
    return told


def layer_window(path: str, window: Window) -> Window:
    """Return a tile's pixels in an array, by its path in the zone, such as `r20m/landcover`."""
    factor = int(path.partition("/")[0].strip("rm")) // GSD
    height, width = (-(-size // factor) for size in window[2:])
    return Window(window.y // factor, window.x // factor, height, width)


def finish_levels(store: Store, grid: Grid) -> None:
    """Write the levels that no tile holds whole, each from the finer one, chunk by chunk."""
    for factor in factors(grid)[len(TILE_FACTORS) :]:
        whole = Window(0, 0, *shape_of(grid, GSD * factor))
        for window in whole.blocks(CHUNK_PX, CHUNK_PX):
            finer = Window(*(2 * number for number in window))
            for name in (LANDCOVER, CONFIDENCE):
                found = store.read(layer_path(grid.zone, name, factor // 2), (), finer)
                level = _coarser(name, found, 2)
                store.write(layer_path(grid.zone, name, factor), (), window, level)


def write_coverage(store: Store, grid: Grid, states: Mapping[str, str]) -> None:
    """Write which tiles are mapped, by the status of their units, by key."""
    coverage = _planned(grid)
    for tile in grid.tiles:
        coverage[tile.row, tile.column] = _STATES.get(states.get(tile.key, ""), UNFINISHED)
    store.write(f"{grid.zone}/{COVERAGE}", (), Window(0, 0, *coverage.shape), coverage)


def levels(shares: np.ndarray, is_seen: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """Return probabilities as a map stores them: x 200, and 255 where nothing was seen."""
    scaled = shares * FULL_CONFIDENCE
    stored = np.rint(scaled, out=scaled).astype(np.uint8)
    return np.where(is_seen, stored, np.uint8(NO_CONFIDENCE))


def layers_of(
    found: Blended, legend: Legend, *, has_probabilities: bool
) -> dict[str, UInt8[np.ndarray, "..."]]:
    """Return the layers of a tile that probabilities decide, and these themselves if wanted.

    Where only one class has a probability above 0, there is no second.
    """
    values = np.array(legend.values, np.uint8)
    has_second = found.is_seen & (found.second_probability > 0)
    return {
        LANDCOVER: np.where(found.is_seen, values[found.position], np.uint8(UNLABELLED)),
        CONFIDENCE: levels(found.probability, found.is_seen),
        SECOND: np.where(has_second, values[found.second], np.uint8(UNLABELLED)),
        MARGIN: levels(found.probability - found.second_probability, found.is_seen),
        **({PROBABILITY: levels(found.shares, found.is_seen)} if has_probabilities else {}),
    }


def _coarser(
    name: str, layer: UInt8[np.ndarray, "y x"], factor: int
) -> UInt8[np.ndarray, "rows columns"]:
    if name == LANDCOVER:
        return coarser_classes(layer, factor, UNLABELLED)
    return coarser_levels(layer, factor, NO_CONFIDENCE)


def _layer(grid: Grid, name: str, legend: Legend, factor: int = 1) -> ArrayLayout:
    path = layer_path(grid.zone, name, factor)
    chunk = grid.tile_px // factor if factor <= TILE_FACTORS[-1] else CHUNK_PX
    attributes = _attributes(name, legend)
    fill = attributes.get("_FillValue", 0)
    found = raster(path, grid, GSD * factor, chunk, attributes, fill)
    if name != PROBABILITY:
        return found
    classes = len(legend.classes)
    return found._replace(
        dims=("class", *found.dims),
        shape=(classes, *found.shape),
        chunks=(classes, *found.chunks),
    )


def _attributes(name: str, legend: Legend) -> Attributes:
    if name in {LANDCOVER, SECOND}:
        order = "" if name == LANDCOVER else "second most probable "
        return {**flags(legend), "long_name": f"{order}land cover, legend {legend.name}"}
    if name.startswith(COUNTS):
        array = name.removeprefix(COUNTS)
        return {"long_name": f"number of valid observations of {array}, 255 and more", "units": "1"}
    told = {
        CONFIDENCE: "probability of the mapped class",
        MARGIN: "probability of the mapped class less that of the second",
        PROBABILITY: f"probability of {', '.join(legend.names)}",
    }
    return {
        "long_name": told[name],
        "units": "1",
        "scale_factor": 1 / FULL_CONFIDENCE,
        "_FillValue": NO_CONFIDENCE,
    }


def _coverage(grid: Grid) -> ArrayLayout:
    planned = _planned(grid)
    return ArrayLayout(
        path=f"{grid.zone}/{COVERAGE}",
        dims=("tile_row", "tile_column"),
        shape=planned.shape,
        dtype="uint8",
        fill=UNFINISHED,
        chunks=planned.shape,
        shards=None,
        attributes={
            "long_name": "what became of each tile",
            "flag_values": [UNFINISHED, MAPPED, EMPTY, OUTSIDE],
            "flag_meanings": "unfinished mapped without_data outside_the_area",
            "tile_px": grid.tile_px,
        },
        values=planned,
    )


def _planned(grid: Grid) -> UInt8[np.ndarray, "row column"]:
    rows, columns = grid.cells[-1]
    planned = np.full((rows + 1, columns + 1), OUTSIDE, np.uint8)
    for tile in grid.tiles:
        planned[tile.row, tile.column] = UNFINISHED
    return planned


def _conventions(*names: str) -> Attributes:
    return {
        "zarr_conventions": [
            {"name": name, "uuid": _REGISTERED[name], "schema_url": _URL.format(name)}
            for name in names
        ]
    }


def _multiscales(grid: Grid) -> Attributes:
    known = factors(grid)
    coarser = [
        {
            "asset": level_name(factor),
            "derived_from": level_name(finer),
            "transform": {"scale": [2, 2]},
        }
        for factor, finer in zip(known, (1, *known), strict=False)
    ]
    layout = [{"asset": level_name(1)}, *coarser]
    # No resampling_method: classes take the most frequent, quantities the mean.
    told = {"layout": layout}
    return {**_conventions("multiscales"), "proj:code": grid.crs, "multiscales": told}
