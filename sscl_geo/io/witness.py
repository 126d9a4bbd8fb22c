"""Pixels as witnesses of a scene's DN convention."""

import numpy as np

from sscl_geo.errors import CatalogError
from sscl_geo.geo.scene import Scene
from sscl_geo.io.offsets import HISTOGRAM_BINS, Histogram, OffsetDecision, confirm, pixels_say
from sscl_geo.io.profile import OffsetRule
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import Signer

BANDS = ("B02", "B04", "B12")
"""Bands that are dark over water and vegetation, and bright over different other grounds."""

LONGEST_PX = 512
NODATA = 0


def witnessed(scene: Scene, rule: OffsetRule, sign: Signer) -> Scene:
    """Return a scene whose DN convention its pixels have confirmed, corrected or left open.

    Reads one overview of at most `LONGEST_PX` pixels a side of each of `BANDS` that it has.

    Args:
        scene: A scene decided by metadata.
        rule: What counts where metadata and pixels disagree.
        sign: Signs the addresses.

    Raises:
        CatalogError: Metadata and pixels contradict each other and the rule does not say who wins.
        ReadError: An overview cannot be read.
    """
    with GeoTiffReader(sign) as reader:
        known = [band for band in BANDS if band in dict(scene.hrefs)]
        histograms = [_histogram(reader, scene.href(band)) for band in known]
    before = OffsetDecision(scene.harmonise, scene.witness)
    after = confirm(before, pixels_say(histograms), rule.on_conflict)
    return scene.replace(**after._asdict())


def _histogram(reader: GeoTiffReader, href: str) -> Histogram:
    dn = reader.overview(href, LONGEST_PX)
    if not np.issubdtype(dn.dtype, np.integer):
        raise CatalogError(f"the pixels are {dn.dtype} numbers, not digital numbers")
    valid = dn[dn != NODATA]
    return Histogram(
        np.bincount(valid[valid < HISTOGRAM_BINS], minlength=HISTOGRAM_BINS), valid.size
    )
