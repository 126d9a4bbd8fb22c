"""Many boxes in degrees, by place."""

from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Int64

from sscl_geo.geo.bbox import BBox


class Boxes:
    """A spatial index: finds the boxes that meet another without looking at all of them.

    Args:
        boxes: The boxes; each may cross the antimeridian.
    """

    def __init__(self, boxes: Sequence[BBox]) -> None:
        parts = [(number, part) for number, box in enumerate(boxes) for part in box.split()]
        self._numbers = np.array([number for number, _ in parts], np.int64)
        self._tree = shapely.STRtree([shapely.box(*part) for _, part in parts])

    def meeting(self, box: BBox) -> Int64[np.ndarray, " box"]:
        """Return the numbers of the boxes that share a point with another, in order."""
        hits = self._tree.query([shapely.box(*part) for part in box.split()])[1]
        return np.unique(self._numbers[hits])
