"""The Sentinel-1 part of the demo's archive."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pystac
from jaxtyping import Float32

from sscl_geo.demo.items import CRS, RADAR_NODATA, ground_transform, new_item, radar_asset, utc
from sscl_geo.demo.landscape import Landscape
from sscl_geo.demo.sensing import backscatter
from sscl_geo.io.publish.cog import write_cog

_DAYS: Final = (96, 119, 144, 167, 189, 212, 237, 260)
_ORBITS: Final = (("ascending", 146, 16, 51), ("descending", 22, 5, 10))


def write_radar(out: Path, landscape: Landscape, seed: int, year: int) -> list[pystac.Item]:
    """Write ascending and descending scenes in turn."""
    items = []
    for index, day in enumerate(_DAYS):
        state, orbit, hour, minute = _ORBITS[index % 2]
        when = utc(year, day, hour, minute)
        properties = _radar_properties(state, orbit)
        rng = np.random.default_rng((seed, year, 1000 + day))
        items.append(_write_scene(out, backscatter(landscape, day, rng), when, properties))
    return items


def _radar_properties(state: str, orbit: int) -> dict[str, Any]:
    return {
        "platform": "sentinel-1a",
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": "IW",
        "sar:frequency_band": "C",
        "sar:product_type": "RTC",
        "sar:polarizations": ["VV", "VH"],
        "sat:orbit_state": state,
        "sat:relative_orbit": orbit,
    }


def _write_scene(
    out: Path,
    power: dict[str, Float32[np.ndarray, "y x"]],
    when: datetime,
    properties: dict[str, Any],
) -> pystac.Item:
    """Write both polarisations over the whole ground."""
    size_px = len(power["VV"])
    columns = slice(0, size_px)
    name = f"S1A_IW_GRDH_1SDV_{when:%Y%m%dT%H%M%S}_rtc"
    item = new_item(name, when, columns, size_px, properties)
    for polarisation, values in power.items():
        path = out / "sentinel-1-rtc" / name / f"{polarisation.lower()}.tif"
        write_cog(
            path, _rounded(values), crs=CRS, transform=ground_transform(10), nodata=RADAR_NODATA
        )
        item.add_asset(polarisation.lower(), radar_asset(polarisation, values.shape, columns))
    return item


def _rounded(values: Float32[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
    """Keep 7 bits of the mantissa, to 0.02 dB, so that files are half as large."""
    return ((values.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
