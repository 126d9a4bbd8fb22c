"""STAC items for rasters that lie on the demo's ground."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pystac
import shapely
from affine import Affine
from pyproj import Transformer

from sscl_geo.demo.signatures import CLASSES, GSD_M

CRS: Final = "EPSG:32633"
"""Coordinate reference system of every raster."""

CORNER_M: Final = (500_040.0, 5_400_000.0)
"""Upper left corner (x, y) of the ground, on a multiple of 60 m, in Lower Austria."""

CLASSIFICATION: Final = "https://stac-extensions.github.io/classification/v1.1.0/schema.json"
"""The extension that names class values."""

RADAR_NODATA: Final = -32768.0

_COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS: Final = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v1.1.0")
]
_EXTENSION_OF: Final = {
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "sar": "https://stac-extensions.github.io/sar/v1.0.0/schema.json",
    "sat": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
}
_COMMON_NAME: Final = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge",
    "B06": "rededge",
    "B07": "rededge",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}


def utc(year: int, day_of_year: int, hour: int, minute: int) -> datetime:
    """Return a moment in UTC; day 1 is New Year's Day."""
    return datetime(year, 1, 1, hour, minute, tzinfo=UTC) + timedelta(days=day_of_year - 1)


def ground_transform(gsd_m: float, first_column: int = 0) -> Affine:
    """Map pixel corners of size `gsd_m`, counted from 10 m column `first_column`, to metres."""
    x, y = CORNER_M
    return Affine(gsd_m, 0, x + 10 * first_column, 0, -gsd_m, y)


def new_item(
    name: str, when: datetime, columns: slice, height_px: int, properties: dict[str, Any]
) -> pystac.Item:
    """Describe a scene over 10 m columns `columns`; its extensions follow from the properties."""
    left, north = CORNER_M
    west, east = left + 10 * columns.start, left + 10 * columns.stop
    south = north - 10 * height_px
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    outline = shapely.Polygon(
        to_degrees.transform(x, y)
        for x, y in ((west, north), (west, south), (east, south), (east, north))
    )
    item = pystac.Item(
        name,
        shapely.geometry.mapping(outline),
        list(outline.bounds),
        when,
        properties | {"proj:code": CRS},
    )
    prefixes = {key.split(":")[0] for key in properties}
    item.stac_extensions = _EXTENSIONS + [
        url for prefix, url in _EXTENSION_OF.items() if prefix in prefixes
    ]
    return item


def optical_asset(band: str, shape: tuple[int, int], columns: slice, offset: float) -> pystac.Asset:
    """Describe a band whose reflectance is DN * 0.0001 + `offset`, or the SCL."""
    if band == "SCL":
        raster: dict[str, Any] = {"data_type": "uint8", "nodata": 0}
        return _asset("SCL.tif", shape, columns, 20, {"raster:bands": [raster], "gsd": 20})
    raster = {"scale": 0.0001, "offset": offset, "data_type": "uint16", "nodata": 0}
    fields = {
        "raster:bands": [raster],
        "gsd": GSD_M[band],
        "eo:bands": [{"name": band, "common_name": _COMMON_NAME[band]}],
    }
    return _asset(f"{band}.tif", shape, columns, GSD_M[band], fields)


def radar_asset(polarisation: str, shape: tuple[int, int], columns: slice) -> pystac.Asset:
    """Describe gamma0 in linear power."""
    raster = {
        "unit": "linear power, gamma0",
        "data_type": "float32",
        "nodata": int(RADAR_NODATA),
    }
    fields = {"raster:bands": [raster], "sar:polarizations": [polarisation]}
    return _asset(f"{polarisation.lower()}.tif", shape, columns, 10, fields)


def truth_asset(shape: tuple[int, int], columns: slice) -> pystac.Asset:
    """Describe the land-cover codes."""
    fields = {
        "raster:bands": [{"data_type": "uint8", "nodata": 0}],
        "classification:classes": [
            {"value": value, "name": name} for value, name in CLASSES.items()
        ],
    }
    return _asset("data.tif", shape, columns, 10, fields)


def _asset(
    file: str, shape: tuple[int, int], columns: slice, gsd_m: int, fields: dict[str, Any]
) -> pystac.Asset:
    place = {
        "proj:shape": list(shape),
        "proj:transform": list(ground_transform(gsd_m, columns.start))[:6],
    }
    return pystac.Asset(f"./{file}", media_type=_COG, roles=["data"], extra_fields=place | fields)
