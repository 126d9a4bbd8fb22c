"""The Sentinel-2 part of the demo's archive."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pystac
from jaxtyping import Bool, Float32, Shaped, UInt8, UInt16

from sscl_geo.demo.clouds import make_sky, scene_classification, seen_through
from sscl_geo.demo.items import CRS, ground_transform, new_item, optical_asset, utc
from sscl_geo.demo.landscape import Landscape
from sscl_geo.demo.sensing import reflectance
from sscl_geo.demo.signatures import GSD_M
from sscl_geo.io.publish.cog import Overviews, write_cog

_DAYS: Final = (98, 108, 121, 131, 143, 156, 166, 188, 198, 209, 233, 262)
_CLEAREST: Final = 0.05
_CLOUDIEST: Final = 0.6
_PROCESSING: Final = (("05.10", -0.1), ("03.01", 0.0))


class _Pass(NamedTuple):
    """One overflight of Sentinel-2: the clouds it met and the processing its data went through."""

    when: datetime
    baseline: str
    offset: float
    cover: float


class _Granule(NamedTuple):
    """A part of a pass: 10 m columns from `start` to `stop`, and which way the swath edge cuts."""

    tile: str
    columns: slice
    is_west: bool


def write_optical(
    out: Path, landscape: Landscape, seed: int, year: int, dates: int = len(_DAYS)
) -> list[pystac.Item]:
    """Write both granules of every pass, old and new processing in turn.

    Args:
        out: Folder of the archive.
        landscape: What is seen.
        seed: Of clouds and weather.
        year: When.
        dates: Number of passes, a divisor of 12, spread over the season.
    """
    covers = np.linspace(_CLEAREST, _CLOUDIEST, dates)
    shuffled = np.random.default_rng((seed, year)).permutation(covers)
    items = []
    for index, day in enumerate(_DAYS[:: len(_DAYS) // dates]):
        baseline, offset = _PROCESSING[index % 2]
        overflight = _Pass(utc(year, day, 10, 6), baseline, offset, float(shuffled[index]))
        items += _observe(out, landscape, overflight, np.random.default_rng((seed, year, day)))
    return items


def _observe(
    out: Path, landscape: Landscape, overflight: _Pass, rng: np.random.Generator
) -> list[pystac.Item]:
    """Render one pass and write it as two granules."""
    size_px = len(landscape.classes)
    ground = reflectance(landscape, overflight.when.timetuple().tm_yday, rng)
    sky = make_sky(rng, size_px, overflight.cover)
    seen = seen_through({band: ground[band] for band in ground if band != "B10"}, sky)
    layers: dict[str, Shaped[np.ndarray, "_ _"]] = {
        band: _digital_numbers(values, overflight.offset) for band, values in seen.items()
    }
    layers["SCL"] = scene_classification(seen, sky, rng)
    return [_write_granule(out, layers, overflight, granule) for granule in _granules(size_px)]


def _granules(size_px: int) -> tuple[_Granule, _Granule]:
    """Split the ground at whole 60 m pixels into two granules that share a fifth of the width."""
    first, last = (round(size_px * share / 6) * 6 for share in (0.4, 0.6))
    return (
        _Granule("33UVP", slice(0, last), is_west=True),
        _Granule("33UWP", slice(first, size_px), is_west=False),
    )


def _digital_numbers(
    values: Float32[np.ndarray, "_ _"], offset: float
) -> UInt16[np.ndarray, "_ _"]:
    """Store reflectance so that reflectance is DN * 0.0001 + `offset`; 0 is left to nodata."""
    return np.clip(np.rint((values - offset) * 10_000), 1, 65_535).astype(np.uint16)


def _inside_swath(shape: tuple[int, int], granule: _Granule) -> Bool[np.ndarray, "y x"]:
    """Mark what the granule holds: the swath edge cuts off up to 5 % of the height, aslant."""
    height, width = shape
    cut = np.linspace(0, 0.05 * height, height)[:, None]
    column = np.arange(width)[None]
    return column < width - cut if granule.is_west else column >= cut[::-1]


def _write_granule(
    out: Path,
    layers: dict[str, Shaped[np.ndarray, "_ _"]],
    overflight: _Pass,
    granule: _Granule,
) -> pystac.Item:
    """Write the part of every layer that the granule holds, and describe it."""
    size_px, columns = len(layers["B02"]), granule.columns
    version = overflight.baseline.replace(".", "")
    name = f"S2A_MSIL2A_{overflight.when:%Y%m%dT%H%M%S}_N{version}_R022_T{granule.tile}"
    parts = {band: _part(layer, size_px, granule) for band, layer in layers.items()}
    properties = _optical_properties(overflight, granule, parts["SCL"])
    item = new_item(name, overflight.when, columns, size_px, properties)
    for band, part in parts.items():
        gsd_m = GSD_M.get(band, 20)
        path = out / "sentinel-2-l2a" / name / f"{band}.tif"
        transform = ground_transform(gsd_m, columns.start)
        overviews: Overviews = "mode" if band == "SCL" else "average"
        write_cog(path, part, crs=CRS, transform=transform, nodata=0, overviews=overviews)
        item.add_asset(band, optical_asset(band, part.shape, columns, overflight.offset))
    return item


def _part(
    layer: Shaped[np.ndarray, "_ _"], size_px: int, granule: _Granule
) -> Shaped[np.ndarray, "_ _"]:
    """Cut a layer to the granule, with 0 beyond the swath edge."""
    ratio = size_px // len(layer)
    part = layer[:, granule.columns.start // ratio : granule.columns.stop // ratio]
    return np.where(_inside_swath(part.shape, granule), part, 0).astype(layer.dtype)


def _optical_properties(
    overflight: _Pass, granule: _Granule, scl: UInt8[np.ndarray, "y x"]
) -> dict[str, Any]:
    """Describe a granule; its cloud cover is what the scene classification says."""
    return {
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(100 * float(np.isin(scl[scl > 0], (8, 9, 10)).mean()), 2),
        "s2:mgrs_tile": granule.tile,
        "s2:processing_baseline": overflight.baseline,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 22,
    }
