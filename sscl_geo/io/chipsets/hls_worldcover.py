"""HLS chips with ESA WorldCover labels in one npz file.

Arrays: `reflectance` (chip, band, y, x) int16, reflectance x 10000, with negative values; and
`worldcover` and `dem` (chip, y, x), `ids`, `place`, `bands`. Many of the file's places overlap, as
elevation and classes show, which lie on the same pixels of 30 m in each: those that do are one
place here.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.chips import Chip, ChipsSpec
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import ChipPixels, ChipSource
from sscl_geo.io.disk import sha256_of
from sscl_geo.ops.overlap import places_of
from sscl_geo.sensors import sensor_of

SENSOR = sensor_of("hls_l30")
MISSING = -9999
"""HLS's own mark of a pixel without an observation."""

RAISE = 1000
"""What makes canonical DN of reflectance x 10000."""

HIGHEST = 65535
NEEDED = ("reflectance", "worldcover", "dem", "ids", "place", "bands")
GSD = 30


class _Npz(NamedTuple):
    spec: ChipsSpec
    chips: list[Chip]
    identity: str
    reflectance: np.ndarray
    labels: np.ndarray
    source: str

    def read(self, number: int) -> ChipPixels:
        """Return the pixels of a chip."""
        raw = self.reflectance[number].astype(np.int32)
        stored = np.where(raw == MISSING, 0, np.clip(raw + RAISE, 1, HIGHEST))
        legend = self.spec.legend
        if legend is None:
            raise InvalidInputError(f"{self.source}: needs a legend")
        labels = legend.recode(self.labels[number], self.source)
        return ChipPixels({SENSOR.array: stored.astype(np.uint16)}, labels)


def chip_source(path: Path, legend: Legend | None) -> ChipSource:
    """Return the chips of a file.

    Raises:
        InvalidInputError: The file is not of this kind.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in NEEDED}
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"{path} is no npz of HLS chips: {error}") from None
    reflectance = arrays["reflectance"]
    found = [str(name) for name in arrays["bands"]]
    known = [band.common_name for band in SENSOR.bands]
    if found != known or reflectance.shape[2] != reflectance.shape[3]:
        raise InvalidInputError(f"{path}: bands {found} of square chips must be {known}")
    for name in ("worldcover", "dem"):
        if arrays[name].shape != (len(reflectance), *reflectance.shape[2:]):
            raise InvalidInputError(
                f"{path}: {name} of shape {arrays[name].shape} must lie on the pixels of "
                f"reflectance, {reflectance.shape}"
            )
    spec = ChipsSpec(
        sensors=(SENSOR,),
        count=len(reflectance),
        side=reflectance.shape[2],
        gsd=GSD,
        legend=legend,
    )
    ground = arrays["dem"].astype(np.int64), arrays["worldcover"].astype(np.int64)
    places = places_of(ground, [str(place) for place in arrays["place"]])
    chips = [
        Chip(id=str(name), place=place, part="all")
        for name, place in zip(arrays["ids"], places, strict=True)
    ]
    return _Npz(spec, chips, sha256_of(path), reflectance, arrays["worldcover"], str(path))
