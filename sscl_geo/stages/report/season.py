"""How green the land is from period to period."""

from datetime import date
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from sscl_geo.geo.grid import Grid
from sscl_geo.geo.period import Period
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.stages.report.pictures import LARGEST_PX, Picture, figure_address, seen_bands

FEWEST_PERIODS = 3
FEWEST_PIXELS = 30
"""A class with fewer pixels has no curve."""


class Curve(NamedTuple):
    """Median NDVI of a class in each period; NaN where nothing was seen."""

    name: str
    color: str
    ndvi: list[float]


def season_picture(cube: Cube, labels: Classes | None) -> Picture | None:
    """Return the NDVI of each labelled class, or of all ground, over the periods of a cube.

    None for a cube of fewer than three periods, or without Sentinel-2. NDVI = (B08 - B04) / (B08 +
    B04) in reflectance (Rouse et al. 1974).
    """
    curves = season_curves(cube, labels)
    if len(cube.spec.periods) < FEWEST_PERIODS or not curves:
        return None
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    middles = np.array([_middle(period) for period in cube.spec.periods], "datetime64[D]")
    for curve in curves:
        axes.plot(
            middles, curve.ndvi, marker="o", markersize=4, color=curve.color, label=curve.name
        )
    axes.set_ylabel("median NDVI", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return Picture("Median NDVI in each period", figure_address(figure))


def season_curves(cube: Cube, labels: Classes | None) -> list[Curve]:
    """Return a curve of each class of the labels, or one of all ground without labels."""
    greenness = [_ndvi(cube, grid) for grid in cube.spec.grids]
    if any(values is None for values in greenness):
        return []
    ndvi = np.concatenate(
        [values.reshape(len(values), -1) for values in greenness if values is not None], 1
    )
    if labels is None:
        return [Curve("all ground", "#1f6b2c", _medians(ndvi))]
    found = [labels.thinned(grid.zone, LARGEST_PX).ravel() for grid in cube.spec.grids]
    values = np.concatenate(found)
    return [
        Curve(item.name, item.color, _medians(ndvi[:, values == item.value]))
        for item in labels.legend.classes
        if (values == item.value).sum() >= FEWEST_PIXELS
    ]


def _ndvi(cube: Cube, grid: Grid) -> Float32[np.ndarray, "time y x"] | None:
    names = ["sentinel2_l2a:B04", "sentinel2_l2a:B08"]
    layers = [seen_bands(cube, grid, names, index) for index in range(len(cube.spec.periods))]
    shape = next((layer.shape[1:] for layer in layers if layer is not None), None)
    if shape is None:
        return None
    blank = np.full((2, *shape), np.nan, np.float32)
    red, infrared = np.stack([blank if layer is None else layer for layer in layers], axis=1)
    return np.asarray((infrared - red) / np.maximum(infrared + red, 1e-3), np.float32)


def _medians(ndvi: Float32[np.ndarray, "time pixel"]) -> list[float]:
    return [float(np.median(seen)) if len(seen) else float("nan") for seen in map(_seen, ndvi)]


def _seen(values: Float32[np.ndarray, " pixel"]) -> Float32[np.ndarray, " seen"]:
    return np.asarray(values[np.isfinite(values)])


def _middle(period: Period) -> date:
    return period.start + (period.end - period.start) / 2
