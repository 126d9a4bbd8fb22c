"""Overlapping windows of probabilities, blended into one tile."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from sscl_geo.geo.grid import Window
from sscl_geo.ops.windows import Lattice, blend_weights

Position = UInt8[np.ndarray, "y x"]
Share = Float32[np.ndarray, "y x"]


class Blended(NamedTuple):
    """What a tile's windows say together.

    Attributes:
        position: Position of the most probable class.
        probability: Its probability; 0 where nothing was seen.
        second: Position of the second most probable class.
        second_probability: Its probability.
        shares: The probability of every class.
        is_seen: Whether a pixel was seen.
    """

    position: Position
    probability: Share
    second: Position
    second_probability: Share
    shares: Float32[np.ndarray, "class y x"]
    is_seen: Bool[np.ndarray, "y x"]


class Blend:
    """A tile's running sum of weighted probabilities.

    The sum of a pixel depends only on the windows that see it and their order, which is the
    lattice's; so two tiles that share a pixel compute the same bits.

    Args:
        tile: The tile's pixels.
        classes: Number of classes.
        lattice: The lattice of the windows.
    """

    def __init__(self, tile: Window, classes: int, lattice: Lattice) -> None:
        self._tile = tile
        self._weights = blend_weights(lattice)
        self._sum = np.zeros((classes, tile.height, tile.width), np.float32)
        self._is_seen = np.zeros((tile.height, tile.width), np.bool_)

    def add(
        self,
        window: Window,
        probabilities: Float32[np.ndarray, "class y x"],
        is_seen: Bool[np.ndarray, "y x"],
    ) -> None:
        """Take a window that may reach over the tile's edge."""
        shared = window.intersection(self._tile)
        mine, its = shared.within(self._tile).slices, shared.within(window).slices
        self._sum[:, *mine] += probabilities[:, *its] * (self._weights[its] * is_seen[its])
        self._is_seen[mine] |= is_seen[its]

    def result(self) -> Blended:
        """Return the tile, once, after its last window; of a tie the class that comes first."""
        shares, total = self._sum, self._sum.sum(axis=0)
        np.divide(shares, total, out=shares, where=total > 0)
        return Blended(*two_greatest(shares), shares, self._is_seen)


def two_greatest(
    shares: Float32[np.ndarray, "class y x"],
) -> tuple[Position, Share, Position, Share]:
    """Return the positions and values of the two greatest, class by class: no copy of all."""
    shape = shares.shape[1:]
    position, second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    greatest, next_greatest = np.full(shape, -1, np.float32), np.full(shape, -1, np.float32)
    for number, share in enumerate(shares):
        is_greatest = share > greatest
        np.copyto(second, number, where=share > next_greatest)
        np.copyto(second, position, where=is_greatest)
        np.copyto(position, number, where=is_greatest)
        np.maximum(next_greatest, np.minimum(share, greatest), out=next_greatest)
        np.maximum(greatest, share, out=greatest)
    return position, greatest, second, next_greatest


def mean_of(levels: Sequence[UInt8[np.ndarray, "class y x"]], full: int, nothing: int) -> Blended:
    """Return what maps say together: at each pixel the mean over those that have seen it.

    Args:
        levels: Stored probabilities of each map.
        full: The stored number of probability 1.
        nothing: The stored number of a pixel that was not seen.
    """
    shares = np.zeros(levels[0].shape, np.float32)
    count = np.zeros(levels[0].shape[1:], np.float32)
    for stored in levels:
        is_seen = stored[0] != nothing
        shares += np.where(is_seen, stored, 0)
        count += is_seen
    np.divide(shares, full * count, out=shares, where=count > 0)
    return Blended(*two_greatest(shares), shares, count > 0)
