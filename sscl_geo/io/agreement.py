"""Agreement of a map with reference labels."""

import numpy as np
from jaxtyping import Int64, UInt8

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import owned
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes
from sscl_geo.io.layout import FULL_CONFIDENCE
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.maps import CONFIDENCE, layer_path
from sscl_geo.ops.reliability import Reliability, counted, reliability
from sscl_geo.ops.scores import Evaluation, confusion, evaluation


def agreement(map_path: AnyLocation, labels_path: AnyLocation) -> Evaluation:
    """Compare a map with labels on the same pixels.

    Raises:
        InvalidInputError: Grids or legends differ, or no labelled pixel is mapped.
    """
    mapped, labels = _paired(map_path, labels_path)
    counts = _counts(mapped, labels)
    if counts[:, :-1].sum() == 0:
        raise InvalidInputError(
            f"no labelled pixel of {labels_path} is mapped in {map_path}; check that they "
            "cover the same place"
        )
    return evaluation(counts, mapped.legend)


def sureness(map_path: AnyLocation, labels_path: AnyLocation) -> Reliability:
    """Return how often a map is right at each confidence, by labels on the same pixels.

    Raises:
        InvalidInputError: As `agreement` does.
    """
    mapped, labels = _paired(map_path, labels_path)
    counts = np.zeros((2, 256), np.int64)
    for grid in mapped.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            reference, found = _compared(mapped, labels, grid, window)
            levels = mapped.store.read(layer_path(grid.zone, CONFIDENCE), (), window)
            known = (reference != UNLABELLED) & (found != UNLABELLED)
            counts += counted(levels[known], reference[known] == found[known])
    return reliability(counts, FULL_CONFIDENCE)


def _paired(map_path: AnyLocation, labels_path: AnyLocation) -> tuple[Classes, Classes]:
    mapped, labels = Classes.open(map_path, "map"), Classes.open(labels_path, "labels")
    labels.check_grids(mapped.grids, map_path)
    if not labels.legend.is_like(mapped.legend):
        raise InvalidInputError(
            f"{labels_path} has the classes {', '.join(labels.legend.names)} and {map_path} "
            f"{', '.join(mapped.legend.names)}; make the labels with the legend of the model"
        )
    return mapped, labels


def _compared(
    mapped: Classes, labels: Classes, grid: Grid, window: Window
) -> tuple[UInt8[np.ndarray, "y x"], UInt8[np.ndarray, "y x"]]:
    """Return reference and map of a window; without a reference where the grid does not own it."""
    reference, found = labels.read(grid.zone, window), mapped.read(grid.zone, window)
    reference[~owned(grid, window)] = UNLABELLED
    return reference, found


def _counts(mapped: Classes, labels: Classes) -> Int64[np.ndarray, "classes columns"]:
    count = len(mapped.legend.classes)
    counts = np.zeros((count, count + 1), np.int64)
    for grid in mapped.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            reference, found = _compared(mapped, labels, grid, window)
            counts += confusion(reference, found, mapped.legend)
    return counts
