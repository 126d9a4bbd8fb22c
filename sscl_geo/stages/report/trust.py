"""How sure a map is: whether rightly so, where not, and between which classes."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sscl_geo.geo.ground import owned
from sscl_geo.geo.legend import LandClass
from sscl_geo.io.cubes import Classes
from sscl_geo.io.layout import FULL_CONFIDENCE
from sscl_geo.io.maps import MARGIN, SECOND, layer_path, level_name
from sscl_geo.ops.reliability import Reliability
from sscl_geo.stages.report.pictures import Picture, figure_address

CLOSE = 0.2
"""A pixel is unsure whose class is less than this much more probable than the second."""

_BAR, _LINE = "#c9d8c5", "#1f6b2c"


class UnsureRow(NamedTuple):
    """A mapped class: the share of its pixels that is unsure, and the class next to them."""

    item: LandClass
    share: float
    other: LandClass | None


def reliability_picture(found: Reliability) -> Picture:
    """Return accuracy by confidence, over the share of pixels that are so sure."""
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    axes = figure.add_subplot()
    shares = np.array([one.pixels for one in found.bins]) / sum(one.pixels for one in found.bins)
    sure = [100 * one.confidence for one in found.bins]
    right = [100 * one.accuracy for one in found.bins]
    axes.bar(sure, 100 * shares, width=6, color=_BAR, label="share of pixels")
    axes.plot(
        [0, 100], [0, 100], color="#888", linewidth=1, linestyle="--", label="as sure as right"
    )
    axes.plot(sure, right, marker="o", markersize=4, color=_LINE, label="right")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("confidence of the map, %", fontsize=9)
    axes.set_ylabel("%", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    caption = f"Reliability; the expected calibration error is {100 * found.error:.1f} points"
    return Picture(caption, figure_address(figure))


def unsure_rows(mapped: Classes) -> list[UnsureRow]:
    """Return how unsure the map is of each class that it maps, the most unsure first.

    None of a map that does not keep its second class.
    """
    groups = [f"{grid.zone}/{level_name(1)}" for grid in mapped.grids]
    if any(SECOND not in mapped.store.names(group) for group in groups):
        return []
    count = len(mapped.legend.classes)
    pixels, close = np.zeros(count, np.int64), np.zeros((count, count), np.int64)
    for grid in mapped.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            classes = mapped.read(grid.zone, window)
            known = (classes != 0) & owned(grid, window)
            margin = mapped.store.read(layer_path(grid.zone, MARGIN), (), window)[known]
            second = mapped.store.read(layer_path(grid.zone, SECOND), (), window)[known]
            first = mapped.legend.indices(classes[known]).astype(np.int64)
            pixels += np.bincount(first, minlength=count)
            is_close = margin < CLOSE * FULL_CONFIDENCE
            pairs = first[is_close] * count + mapped.legend.indices(second[is_close])
            close += np.bincount(pairs, minlength=count**2).reshape(count, count)
    rows = [
        UnsureRow(item, close[n].sum() / pixels[n], _other(mapped, close[n]))
        for n, item in enumerate(mapped.legend.classes)
        if pixels[n]
    ]
    return sorted(rows, key=lambda row: -row.share)


def _other(mapped: Classes, close: np.ndarray) -> LandClass | None:
    return mapped.legend.classes[int(close.argmax())] if close.any() else None
