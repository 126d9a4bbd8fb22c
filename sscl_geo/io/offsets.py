"""Whether a Sentinel-2 Level-2A scene's numbers carry the +1000 of baseline 04.00.

ESA adds 1000 to every valid DN since processing baseline 04.00 (25 January 2022); the Collection-1
reprocessing does so for older dates too, so the date of a scene says nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from sscl_geo.errors import CatalogError

Witness = Literal["raster_bands", "processing_baseline", "boa_offset_applied"]

ADDED = 1000
_SINCE_BASELINE = 4.0


class OffsetDecision(NamedTuple):
    """What to add to a valid DN to make it canonical, and who said so."""

    harmonise: int
    witness: str


def decide(
    properties: Mapping[str, object], asset: Mapping[str, object], witnesses: tuple[Witness, ...]
) -> OffsetDecision:
    """Return how a scene becomes canonical, by the metadata that its catalogue is known to keep.

    Args:
        properties: Properties of the STAC item.
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


def _votes(
    properties: Mapping[str, object], asset: Mapping[str, object]
) -> Iterator[tuple[Witness, bool]]:
    bands = asset.get("raster:bands") or asset.get("bands")
    first = bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}
    offset = first.get("offset", first.get("raster:offset"))
    if offset is not None:
        yield "raster_bands", _number(offset, "offset") < 0
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    if baseline is not None:
        yield "processing_baseline", _number(baseline, "baseline") >= _SINCE_BASELINE
    applied = properties.get("earthsearch:boa_offset_applied")
    if applied is not None:
        yield "boa_offset_applied", not applied


def _number(value: object, name: str) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise CatalogError(f"{name} {value!r} of the DN is not a number") from None
