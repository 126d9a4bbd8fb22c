"""Edges of Sentinel-1 swaths, where backscatter is not to be trusted.

Scenes of before March 2018 carry a fringe of noise along their border, and terrain-corrected ones
holes filled with zeros (Ali et al. 2018, "Methods to remove the border noise from Sentinel-1
synthetic aperture radar data", IEEE JSTARS 11(3)).
"""

import numpy as np
from jaxtyping import Bool
from pydantic import NonNegativeInt

from sscl_geo.frozen import Frozen
from sscl_geo.ops.morphology import dilated, opened


class SwathSpec(Frozen):
    """How a swath is trimmed, in pixels.

    Attributes:
        edge_px: How far from a hole or from the swath's end a pixel is dropped.
        hole_px: Radius of the smallest disk that counts as a hole; smaller ones are single missing
            pixels, whose neighbours are good.
    """

    edge_px: NonNegativeInt = 3
    hole_px: NonNegativeInt = 2

    @property
    def reach(self) -> int:
        """How far from a pixel another can lie that decides whether it is dropped."""
        return 2 * self.hole_px + self.edge_px


def trimmed(is_valid: Bool[np.ndarray, "y x"], spec: SwathSpec) -> Bool[np.ndarray, "y x"]:
    """Return the valid pixels that are farther than `spec.edge_px` from any hole.

    Pixels at least `spec.reach` from the array's edge do not depend on where that edge is.
    """
    edges = dilated(opened(~is_valid, spec.hole_px), spec.edge_px)
    return np.asarray(is_valid & ~edges)
