"""Maps whose every pixel a test decides, without a model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.maps import CONFIDENCE, LANDCOVER, map_layout, write_layers
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table

Draw = Callable[[Grid, Window], np.ndarray]

LEGEND = Legend(
    name="drawn",
    classes=(
        LandClass(value=10, name="Tree cover", color="#1f6b2c"),
        LandClass(value=40, name="Cropland", color="#d8b13c"),
        LandClass(value=80, name="Water", color="#2b6cb0"),
    ),
)

MODEL: dict[str, JsonValue] = {
    "model": "a" * 64,
    "temperature": 1.25,
    "window": 64,
    "halo": 16,
    "legend": LEGEND.digest,
}


def draw_map(
    out: Path,
    grids: Sequence[Grid],
    landcover: Draw,
    confidence: Draw = lambda _, window: np.full(window[2:], FULL_CONFIDENCE, np.uint8),
    *,
    legend: Legend = LEGEND,
    arguments: Mapping[str, JsonValue] = MODEL,
) -> Path:
    """Make a map of a function's classes; its confidence is 255 where there is no class."""
    plan = Plan(
        kind="map",
        stage_version=1,
        arguments={"cube": out.stem, **arguments},
        content={
            "grids": [grid.model_dump(mode="json") for grid in grids],
            "legend": legend.model_dump(mode="json"),
            "sensors": ["sentinel2_l2a"],
            "interval": {"start": "2024-04-01", "end": "2024-10-01"},
        },
    )

    def fill(store: Store) -> None:
        for grid in grids:
            for tile in grid.tiles:
                window = grid.window(tile)
                classes = landcover(grid, window).astype(np.uint8)
                sure = np.where(classes == 0, NO_CONFIDENCE, confidence(grid, window))
                layers = {LANDCOVER: classes, CONFIDENCE: sure.astype(np.uint8)}
                write_layers(store, tile, window, layers)

    done: list[dict[str, JsonValue]] = [
        {"key": tile.key, "status": "done"} for grid in grids for tile in grid.tiles
    ]
    layout = map_layout(tuple(grids), legend, {})
    Store.create(out, plan, layout, {TILES: records_table(done)}, fill)
    return out


def drawn(classes: np.ndarray) -> Draw:
    """Return what draws one array of classes, whatever the tiles."""
    return lambda _, window: classes[window.slices]
