"""Which pixels of an optical scene saw the ground."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from pydantic import NonNegativeInt

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.ops.morphology import dilated, opened

Flag = Literal["nodata", "saturated", "shadow", "cloud", "cirrus", "snow", "water", "dark"]

FLAGS: dict[Flag, int] = {
    "nodata": 1,
    "saturated": 2,
    "shadow": 4,
    "cloud": 8,
    "cirrus": 16,
    "snow": 32,
    "water": 64,
    "dark": 128,
}
"""Bits of a mask. Their values and names are the `flag_masks` and `flag_meanings` of the CF
conventions 1.11, section 3.5."""

SCL: dict[int, Flag] = {
    0: "nodata",
    1: "saturated",
    2: "dark",
    3: "shadow",
    6: "water",
    8: "cloud",
    9: "cloud",
    10: "cirrus",
    11: "snow",
}
"""Classes of the Sentinel-2 Scene Classification Layer; vegetation (4), bare ground (5) and
unclassified (7) set no bit (ESA Sentinel-2 L2A ATBD, table of SCL values)."""

LAST_CLASS = 11


class MaskSpec(Frozen):
    """What hides the ground, in pixels of the mask's own grid (20 m).

    The radii are those of Digital Earth Africa's geomedian: `odc.stats.plugins.gm`, `cloud_filters`
    of Sentinel-2, opening 2 and dilation 5 of the union of shadow, cloud and cirrus.

    Attributes:
        hide: Flags that hide the ground; nodata always does.
        opening_px: Radius of the smallest disk that counts as cloud, shadow, cirrus or snow, not as
            a bright roof or a beach.
        dilation_px: How far these hide the ground around them.
    """

    hide: tuple[Flag, ...] = ("nodata", "saturated", "shadow", "cloud", "cirrus")
    opening_px: NonNegativeInt = 2
    dilation_px: NonNegativeInt = 5

    @property
    def reach(self) -> int:
        """How far from a pixel another can lie that decides whether it is seen."""
        return 2 * self.opening_px + self.dilation_px


def scl_bits(scl: UInt8[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x"]:
    """Return a Scene Classification Layer as bits of `FLAGS`.

    Raises:
        InvalidInputError: A value is no class of the layer.
    """
    highest = int(scl.max(initial=0))
    if highest > LAST_CLASS:
        raise InvalidInputError(
            f"SCL value {highest}: a Scene Classification Layer has classes 0 to {LAST_CLASS}; "
            "point the catalogue's mask asset to SCL"
        )
    table = np.array([FLAGS[SCL[c]] if c in SCL else 0 for c in range(LAST_CLASS + 1)], np.uint8)
    return np.take(table, scl)


def is_seen(bits: UInt8[np.ndarray, "y x"], spec: MaskSpec) -> Bool[np.ndarray, "y x"]:
    """Return where the ground was seen.

    Clouds and their like are opened, then dilated, together. Missing and saturated pixels hide
    themselves alone. Pixels at least `spec.reach` from the edge do not depend on where the edge is.
    """
    fixed = FLAGS["nodata"] | _bits(spec, ("saturated",))
    moving = _bits(spec, ("shadow", "cloud", "cirrus", "snow", "water", "dark"))
    covered = opened((bits & np.uint8(moving)) != 0, spec.opening_px)
    hidden = dilated(covered, spec.dilation_px) | ((bits & np.uint8(fixed)) != 0)
    return np.asarray(~hidden)


def refined(mask: Shaped[np.ndarray, "y x"], factor: int) -> Shaped[np.ndarray, "fine_y fine_x"]:
    """Return a mask, or weights, on pixels `factor` times finer."""
    return np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1)


def _bits(spec: MaskSpec, flags: tuple[Flag, ...]) -> int:
    return sum(FLAGS[flag] for flag in flags if flag in spec.hide)
