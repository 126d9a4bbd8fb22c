"""Averages of backscatter, taken in linear power."""

import numpy as np
from jaxtyping import Float32, UInt8


class PowerMean:
    """A running mean over time that keeps two images however many scenes it sees."""

    def __init__(self, height: int, width: int) -> None:
        self._total = np.zeros((height, width), np.float64)
        self._count = np.zeros((height, width), np.uint32)

    def add(self, power: Float32[np.ndarray, "y x"]) -> None:
        """Take one scene; NaN is no observation."""
        seen = ~np.isnan(power)
        self._total += np.where(seen, power, 0.0)
        self._count += seen

    @property
    def mean(self) -> Float32[np.ndarray, "y x"]:
        """The mean of the observations in linear power; NaN where there is none."""
        counted = np.maximum(self._count, 1)
        return np.where(self._count > 0, self._total / counted, np.nan).astype(np.float32)

    @property
    def count(self) -> UInt8[np.ndarray, "y x"]:
        """The number of observations of each pixel; 255 stands for 255 or more."""
        return np.minimum(self._count, 255).astype(np.uint8)
