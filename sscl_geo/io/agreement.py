"""Agreement of a map with reference labels."""

import numpy as np
from jaxtyping import Int64

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.ground import owned
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import AnyLocation
from sscl_geo.ops.scores import Evaluation, confusion, evaluation


def agreement(map_path: AnyLocation, labels_path: AnyLocation) -> Evaluation:
    """Compare a map with labels on the same pixels.

    Raises:
        InvalidInputError: Grids or legends differ, or no labelled pixel is mapped.
    """
    mapped, labels = Classes.open(map_path, "map"), Classes.open(labels_path, "labels")
    labels.check_grids(mapped.grids, map_path)
    if labels.legend.values != mapped.legend.values:
        raise InvalidInputError(
            f"{labels_path} and {map_path} have different legends; make the labels with the "
            "legend of the model"
        )
    matrix = _matrix(mapped, labels)
    if matrix.sum() == 0:
        raise InvalidInputError(
            f"no labelled pixel of {labels_path} is mapped in {map_path}; check that they "
            "cover the same place"
        )
    return evaluation(matrix, mapped.legend)


def _matrix(mapped: Classes, labels: Classes) -> Int64[np.ndarray, "classes classes"]:
    count = len(mapped.legend.classes)
    matrix = np.zeros((count, count), np.int64)
    for grid in mapped.grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            reference, found = labels.read(grid.zone, window), mapped.read(grid.zone, window)
            reference[~owned(grid, window)] = UNLABELLED
            matrix += confusion(reference, found, mapped.legend)
    return matrix
