"""Which pixels of a scene saw the ground."""

import numpy as np
from jaxtyping import Bool, UInt8

UNCLEAR = (0, 1, 3, 8, 9, 10)
"""Classes of the Sentinel-2 Scene Classification Layer that are not the ground: no data, saturated
or defective, cloud shadow, cloud of medium and of high probability, thin cirrus (ESA Sentinel-2 L2A
ATBD, table of SCL values)."""


def is_clear(scl: UInt8[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Where the Scene Classification Layer says that the ground was seen."""
    table = np.ones(256, np.bool_)
    table[list(UNCLEAR)] = False
    return np.take(table, scl)


def refined(mask: Bool[np.ndarray, "y x"], factor: int) -> Bool[np.ndarray, "fine_y fine_x"]:
    """Return a mask on pixels `factor` times finer."""
    return np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1)
