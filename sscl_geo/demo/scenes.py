"""The archive of the demo: what two satellites recorded of the landscape in one summer."""

from pathlib import Path
from typing import Final

import pystac

from sscl_geo.demo.items import CLASSIFICATION, CRS, ground_transform, new_item, truth_asset, utc
from sscl_geo.demo.landscape import Landscape, make_landscape
from sscl_geo.demo.optical import write_optical
from sscl_geo.demo.radar import write_radar
from sscl_geo.demo.signatures import CLASSES
from sscl_geo.io.publish.cog import Palette, write_cog

COLORS: Final = {
    1: (0, 153, 0),
    2: (198, 176, 68),
    4: (182, 255, 5),
    5: (39, 255, 135),
    6: (194, 79, 68),
    7: (165, 165, 165),
    9: (249, 255, 164),
    10: (28, 13, 255),
}
"""Red, green and blue of each land-cover class as the DFC2020 legend draws them."""

_DESCRIPTION: Final = {
    "sentinel-2-l2a": "Simulated Sentinel-2 Level-2A surface reflectance",
    "sentinel-1-rtc": "Simulated Sentinel-1 gamma0, terrain-corrected",
    "land-cover": "The truth behind the simulated scenes, DFC2020 legend",
}


def write_catalog(
    out: Path, *, seed: int, size_px: int = 768, year: int = 2024, dates: int = 12
) -> Path:
    """Write a self-contained STAC catalogue with COG assets and return the path of its root.

    Collections: `sentinel-2-l2a` (`dates`, a divisor of 12, from April to September, each of two
    overlapping granules, with clouds; half the dates have a DN offset of 1000, half none),
    `sentinel-1-rtc` (8 dates, ascending and descending) and `land-cover` (the truth).
    The same arguments give the same pixels.

    Raises:
        InvalidInputError: If `size_px` is not a multiple of 12 or is too small.
    """
    landscape = make_landscape(seed, size_px)
    items = {
        "sentinel-2-l2a": write_optical(out, landscape, seed, year, dates),
        "sentinel-1-rtc": write_radar(out, landscape, seed, year),
        "land-cover": [_truth_item(out, landscape, year)],
    }
    catalog = pystac.Catalog("demo", "A landscape of known truth, seen by Sentinel-1 and -2")
    for name, members in items.items():
        extent = pystac.Extent.from_items(members)
        collection = pystac.Collection(name, _DESCRIPTION[name], extent, license="Apache-2.0")
        catalog.add_child(collection)
        collection.add_items(members)
    catalog.normalize_and_save(str(out), pystac.CatalogType.SELF_CONTAINED)
    return out / "catalog.json"


def _truth_item(out: Path, landscape: Landscape, year: int) -> pystac.Item:
    """Write the land cover that everything was made from."""
    size_px = len(landscape.classes)
    columns, name = slice(0, size_px), f"truth_{year}"
    write_cog(
        out / "land-cover" / name / "data.tif",
        landscape.classes,
        crs=CRS,
        transform=ground_transform(10),
        nodata=0,
        overviews="mode",
        palette=Palette(COLORS, CLASSES),
    )
    item = new_item(name, utc(year, 183, 0, 0), columns, size_px, {})
    item.add_asset("data", truth_asset(landscape.classes.shape, columns))
    item.stac_extensions.append(CLASSIFICATION)
    return item
