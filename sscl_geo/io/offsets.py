"""Whether a Sentinel-2 Level-2A scene's numbers carry the +1000 of baseline 04.00.

ESA adds 1000 to every valid DN since processing baseline 04.00 (25 January 2022); the Collection-1
reprocessing does so for older dates too, so the date of a scene says nothing. Metadata vote first,
then pixels confirm or contradict them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from sscl_geo.errors import CatalogError

Witness = Literal["raster_bands", "processing_baseline", "product_id", "boa_offset_applied"]
Pixels = Literal["carried", "absent", "ambiguous"]
Conflict = Literal["refuse", "pixels"]

ADDED = 1000
DARKEST_DN = 900
"""Below it lies no more than noise (reflectance under -0.01) where the offset is carried."""
DARK_DN = 1250
"""Shadow, water and dense forest lie below it (reflectance 0.025) where the offset is carried."""
HISTOGRAM_BINS = 2000
"""A histogram counts DN 0 to 1999 one by one; brighter pixels say nothing and are only a total."""

_ABSENT_SHARE = 0.05
_NOISE_SHARE = 0.005
_DARK_SHARE = 0.01
_LEAST_BANDS = 2
_LEAST_PIXELS = 256
_SINCE_BASELINE = 4.0
_PRODUCT = re.compile(r"_N(\d{2})(\d{2})_")
_UNOFFICIAL = "99"
_BASELINES = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")
_PRODUCTS = ("s2:product_uri", "sentinel:product_id", "id")
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


class OffsetDecision(NamedTuple):
    """What to add to a valid DN to make it canonical, who said so, and how sure that is."""

    harmonise: int
    witness: str
    confidence: Literal["high", "low", ""] = "low"


class Histogram(NamedTuple):
    """Valid pixels of one band: counts of DN 0 to 1999, and how many there are in all."""

    counts: Int64[np.ndarray, "2000"]
    valid: int


def decide(
    properties: Mapping[str, object], asset: Mapping[str, object], witnesses: tuple[Witness, ...]
) -> OffsetDecision:
    """Return how a scene becomes canonical, by the metadata that its catalogue is known to keep.

    Args:
        properties: Properties of the STAC item, and its `id`.
        asset: A reflectance asset of the item, as plain data.
        witnesses: Which metadata count, by the catalogue's profile.

    Raises:
        CatalogError: No witness speaks, or two contradict each other.
    """
    votes = {name: carries for name, carries in _votes(properties, asset) if name in witnesses}
    if not votes:
        raise CatalogError(f"offset of the DN unknown: the item has none of {', '.join(witnesses)}")
    if len({*votes.values()}) > 1:
        said = " but ".join(f"{name} says {'+1000' if v else 'none'}" for name, v in votes.items())
        raise CatalogError(f"offset of the DN in doubt: {said}")
    carried = next(iter(votes.values()))
    return OffsetDecision(0 if carried else ADDED, ", ".join(votes))


def pixels_say(histograms: Sequence[Histogram]) -> Pixels:
    """Return what the pixels of B02, B04 and B12 tell of the offset.

    `absent`: many pixels of a band lie in (0, 900), which the offset would have lifted. `carried`:
    next to none does, and every band has dark ground just around 1000. Every one, because over
    bright sand, snow or haze some bands may lie there by their own reflectance. Else `ambiguous`:
    all is bright, or too little is valid.
    """
    told = [histogram for histogram in histograms if histogram.valid >= _LEAST_PIXELS]
    below = [int(h.counts[1:DARKEST_DN].sum()) / h.valid for h in told]
    around = [int(h.counts[DARKEST_DN:DARK_DN].sum()) / h.valid for h in told]
    if max(below, default=0) >= _ABSENT_SHARE:
        return "absent"
    is_dark = len(around) >= _LEAST_BANDS and min(around) >= _DARK_SHARE
    return "carried" if is_dark and max(below) < _NOISE_SHARE else "ambiguous"


def confirm(decision: OffsetDecision, pixels: Pixels, on_conflict: Conflict) -> OffsetDecision:
    """Return the decision of metadata and pixels together.

    Ambiguous pixels leave it to the metadata. On a conflict the pixels win where the catalogue's
    profile says so.

    Raises:
        CatalogError: Metadata and pixels contradict each other; both are named.
    """
    if pixels == "ambiguous":
        return decision
    seen = 0 if pixels == "carried" else ADDED
    if seen == decision.harmonise:
        return OffsetDecision(seen, f"{decision.witness}, pixels", "high")
    if on_conflict == "pixels":
        return OffsetDecision(seen, f"pixels against {decision.witness}", "high")
    says = ("+1000", "none") if decision.harmonise == 0 else ("none", "+1000")
    raise CatalogError(
        f"offset of the DN in doubt: {decision.witness} says {says[0]} but pixels say {says[1]}"
    )


def baseline_of(properties: Mapping[str, object]) -> str | None:
    """Return the processing baseline of Sentinel-2 metadata, such as `05.11`; None if not told.

    Raises:
        CatalogError: A baseline is told that is not a number.
    """
    told = _first(properties, _BASELINES)
    return f"{_number(told, 'baseline'):05.2f}" if told is not None else _product(properties)


def _votes(
    properties: Mapping[str, object], asset: Mapping[str, object]
) -> Iterator[tuple[Witness, bool]]:
    bands = asset.get("raster:bands") or asset.get("bands")
    first = bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}
    offset = first.get("offset", first.get("raster:offset", asset.get("raster:offset")))
    if offset is not None:
        yield "raster_bands", _number(offset, "offset") < 0
    told = _first(properties, _BASELINES)
    if told is not None:
        yield "processing_baseline", _number(told, "baseline") >= _SINCE_BASELINE
    product = _product(properties)
    if product is not None:
        yield "product_id", float(product) >= _SINCE_BASELINE
    yield from _applied(properties)


def _applied(properties: Mapping[str, object]) -> Iterator[tuple[Witness, bool]]:
    applied = _first(properties, _APPLIED)
    if applied is not None:
        if not isinstance(applied, bool):
            raise CatalogError(f"boa_offset_applied {applied!r} is neither true nor false")
        # "Not applied" is also said of old scenes, which have no offset to apply.
        baseline = baseline_of(properties)
        had_offset = baseline is None or float(baseline) >= _SINCE_BASELINE
        yield "boa_offset_applied", had_offset and not applied


def _product(properties: Mapping[str, object]) -> str | None:
    """Return the baseline in a product's name; BigEarthNet's N9999 is none of ESA's."""
    for name in _PRODUCTS:
        match = _PRODUCT.search(str(properties.get(name) or ""))
        if match and match[1] != _UNOFFICIAL:
            return f"{match[1]}.{match[2]}"
    return None


def _first(properties: Mapping[str, object], names: tuple[str, ...]) -> object:
    told = (properties.get(name) for name in names)
    return next((value for value in told if value is not None), None)


def _number(value: object, name: str) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise CatalogError(f"{name} {value!r} of the DN is not a number") from None
