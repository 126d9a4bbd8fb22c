"""A landscape that knows its own truth."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from sscl_geo.demo.randomfield import correlated_normal, matern
from sscl_geo.demo.signatures import CLASSES, COVERS
from sscl_geo.demo.terrain import CLASS_OF, Terrain, make_terrain
from sscl_geo.errors import InvalidInputError

MOTTLE: Final = np.array([cover.mottle for cover in COVERS.values()], np.float32)
"""How much single pixels vary, for every kind of land."""

_SMALLEST_PX: Final = 180
_LEAST_SHARE: Final = 0.03
_ATTEMPTS: Final = 64
_SPREAD: Final = {
    "greenness": (0.04, 0.03, 0.26),
    "brightness": (0.05, 0.04, 0.29),
    "dryness": (0.05, 0.04, 0.22),
    "roughness_db": (0.5, 0.3, 1.4),
    "delay_days": (5.0, 2.0, 0.0),
}


class Landscape(NamedTuple):
    """A square of land on a 10 m grid; every array is aligned with `classes`.

    Attributes:
        classes: DFC2020 land-cover code, the truth.
        covers: Position of the kind of land in `signatures.COVERS`.
        patches: Number of the field, stand or plot.
        greenness: Deviation of the green share of the ground, 0 to 1, that lasts all year.
        brightness: Deviation of the logarithm of reflectance in all bands.
        dryness: Deviation of the logarithm of reflectance in the short-wave infrared.
        roughness_db: Deviation of the backscatter in dB.
        delay_days: How much later than usual the seasons come.
    """

    classes: UInt8[np.ndarray, "y x"]
    covers: UInt8[np.ndarray, "y x"]
    patches: Int32[np.ndarray, "y x"]
    greenness: Float32[np.ndarray, "y x"]
    brightness: Float32[np.ndarray, "y x"]
    dryness: Float32[np.ndarray, "y x"]
    roughness_db: Float32[np.ndarray, "y x"]
    delay_days: Float32[np.ndarray, "y x"]


def make_landscape(seed: int, size_px: int) -> Landscape:
    """Make a landscape on which every class has at least 3 % west and east of the 60 % column.

    Args:
        seed: The same seed and size give the same land.
        size_px: Height and width in pixels of 10 m, a multiple of 12 and at least 180.

    Raises:
        InvalidInputError: If the size does not hold an even number of 60 m pixels, or no land with
            all classes on both sides was found.
    """
    if size_px % 12 or size_px < _SMALLEST_PX:
        raise InvalidInputError(
            f"size_px={size_px} must be a multiple of 12 and at least 180; take 240 or 768."
        )
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, size_px, attempt))
        terrain = make_terrain(rng, size_px)
        classes = CLASS_OF[terrain.covers]
        if _smallest_share(classes) >= _LEAST_SHARE:
            return _vary(rng, classes, terrain)
    raise InvalidInputError(
        f"seed={seed}, size_px={size_px}: no land has every class on both sides; enlarge it."
    )


def _smallest_share(classes: UInt8[np.ndarray, "y x"]) -> float:
    """Return the share of the rarest class in the western 60 % or the eastern 40 %."""
    column = classes.shape[1] * 6 // 10
    sides = classes[:, :column], classes[:, column:]
    return float(min((side == code).mean() for side in sides for code in CLASSES))


def _vary(
    rng: np.random.Generator, classes: UInt8[np.ndarray, "y x"], terrain: Terrain
) -> Landscape:
    """Let fields, places and pixels of the same kind differ."""
    deviations = {name: _deviation(rng, terrain, *spread) for name, spread in _SPREAD.items()}
    return Landscape(classes, terrain.covers, terrain.patches, **deviations)


def _deviation(
    rng: np.random.Generator, terrain: Terrain, by_patch: float, by_place: float, by_pixel: float
) -> Float32[np.ndarray, "y x"]:
    """Add deviations per patch, over some 100 m and per pixel, of the given standard deviations."""
    shape = terrain.covers.shape
    patch = rng.normal(0, by_patch, int(terrain.patches.max()) + 1)[terrain.patches]
    pixel = by_pixel * MOTTLE[terrain.covers] * correlated_normal(rng, shape, 0.5)
    total: Float32[np.ndarray, "y x"] = (
        patch + by_place * matern(rng, shape[0], 6, 1) + pixel
    ).astype(np.float32)
    return total
