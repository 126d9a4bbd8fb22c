"""What product a STAC item is, and why some products are no input."""

from collections.abc import Iterable, Mapping

from sscl_geo.errors import CatalogError

_POLAR = "HH and HV are the polar modes; only scenes with VV are comparable with land elsewhere"
_ACROSS_POLARISATIONS = ("GRD", "RTC")
"""Products of which some scenes would do, and some have the wrong polarisations."""

_UNUSABLE = {
    "SLC": "is complex, in slant range; only terrain-corrected gamma nought (RTC) is used",
    "OCN": "is an ocean product; only terrain-corrected gamma nought (RTC) is used",
    "GRD": (
        "is not gamma nought: its numbers are uncalibrated, and it has ground control points "
        "instead of the `proj:transform` that some catalogues claim; take RTC"
    ),
}


def check_radar(properties: Mapping[str, object], accepted: Iterable[str]) -> None:
    """Refuse a Sentinel-1 item that is not of an accepted product type or has no VV.

    Raises:
        CatalogError: The cause, one text for each kind of product.
    """
    product = str(properties.get("sar:product_type") or "unknown")
    is_polar = "VV" not in _list(properties.get("sar:polarizations"), default="VV")
    if is_polar and product.upper() in _ACROSS_POLARISATIONS:
        mode = properties.get("sar:instrument_mode") or "unknown"
        told = "+".join(_list(properties.get("sar:polarizations"), default="VV"))
        raise CatalogError(f"{product} of mode {mode} has polarisations {told}: {_POLAR}")
    if product not in accepted:
        why = _UNUSABLE.get(product.upper(), "is not what this catalogue's profile accepts")
        raise CatalogError(f"Sentinel-1 product type {product!r} {why}")


def _list(value: object, default: str) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [default]


def check_optical(properties: Mapping[str, object], name: str) -> None:
    """Refuse a Sentinel-2 item that is not Level-2A.

    Args:
        properties: Properties of the STAC item.
        name: The item's id and collection, in which products are named too.

    Raises:
        CatalogError: The item is Level-1C.
    """
    told = f"{properties.get('s2:product_type') or ''} {name}".upper()
    if any(mark in told for mark in ("MSI1C", "MSIL1C", "L1C")):
        raise CatalogError(
            "Sentinel-2 Level-1C is reflectance at the top of the atmosphere; take Level-2A"
        )
