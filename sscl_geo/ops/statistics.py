"""Mean and spread of bands, gathered piece by piece."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

SMALLEST_SPREAD = 1e-6


class Moments(NamedTuple):
    """Number, sum and sum of squares of valid samples; adding two pools them."""

    samples: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: object) -> "Moments":
        if not isinstance(other, Moments):
            return NotImplemented
        return Moments(
            self.samples + other.samples, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """Mean of the samples; 0 where there is none."""
        return self.total / max(self.samples, 1)

    @property
    def spread(self) -> float:
        """Population standard deviation; 1 where there is no sample or no variation."""
        variance = self.squares / max(self.samples, 1) - self.mean**2
        return float(np.sqrt(variance)) if variance > SMALLEST_SPREAD else 1.0


def moments(values: Float32[np.ndarray, "*shape"]) -> Moments:
    """Return the moments of an array's finite values."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return Moments(finite.size, float(finite.sum()), float(np.square(finite).sum()))
