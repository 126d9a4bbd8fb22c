"""Twelve dates of ten bands of 2048 x 2048 pixels, which the benchmarks of ingest share."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac

from sscl_geo.demo.items import CRS, ground_transform, new_item
from sscl_geo.demo.randomfield import matern
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid, Tile
from sscl_geo.geo.ground import tile_bbox
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Band, Sensor
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.publish.cog import write_cog
from sscl_geo.io.store import Store
from sscl_geo.stages.ingest.composite import Job
from sscl_geo.stages.ingest.request import IngestUnit, Method

DATES, BANDS, SIDE = 12, 10, 2048
NAMES = tuple(f"b{number}" for number in range(BANDS))
START = datetime(2024, 4, 1, 10, tzinfo=UTC)
COLLECTION = "bench"
SENSOR = Sensor(
    name="bench",
    array="s2",
    quantity="surface_bidirectional_reflectance",
    units="1",
    kind="optical",
    bands=tuple(Band(name=name, gsd=10) for name in NAMES),
    dtype="uint16",
    nodata=0,
    scale=1e-4,
    offset=-0.1,
)
PERIOD = Period(start=date(2024, 4, 1), end=date(2024, 7, 1))
GRID = Grid(crs=CRS, origin=(500040, 5400000), shape=(2046, 2046), tile_px=2048)


def write_scenes(out: Path) -> Path:
    """Write the COGs and their catalogue once; a tenth of every date is missing."""
    catalog_path = out / "catalog.json"
    if catalog_path.exists():
        return catalog_path
    rng = np.random.default_rng(0)
    land = matern(rng, SIDE, 40, 1.2)
    items = [_write_date(out, land, number, rng) for number in range(DATES)]
    catalog = pystac.Catalog("bench", "twelve dates of ten bands")
    extent = pystac.Extent.from_items(items)
    collection = pystac.Collection(COLLECTION, "bench", extent, license="Apache-2.0")
    catalog.add_child(collection)
    collection.add_items(items)
    catalog.normalize_and_save(str(out), pystac.CatalogType.SELF_CONTAINED)
    return catalog_path


def _write_date(out: Path, land: np.ndarray, number: int, rng: np.random.Generator) -> pystac.Item:
    name, when = f"date-{number:02d}", START + timedelta(days=5 * number)
    item = new_item(name, when, slice(0, SIDE), SIDE, {})
    missing = matern(rng, SIDE, 60, 1.2) > 1.28  # noqa: PLR2004 - a tenth
    for index, band in enumerate(NAMES):
        noise = rng.normal(0, 25, land.shape)
        dn = 1500 + 250 * index + 400 * land + 20 * number + noise
        dn = np.where(missing, 0, np.clip(dn, 1, 60000)).astype(np.uint16)
        path = out / COLLECTION / name / f"{band}.tif"
        write_cog(path, dn, crs=CRS, transform=ground_transform(10), nodata=0)
        raster = {"data_type": "uint16", "nodata": 0}
        place = {
            "proj:shape": [SIDE, SIDE],
            "proj:transform": list(ground_transform(10))[:6],
            "raster:bands": [raster],
        }
        item.add_asset(band, pystac.Asset(f"./{band}.tif", roles=["data"], extra_fields=place))
    return item


def read_items(source: str) -> list[pystac.Item]:
    """Return the items of a static catalogue or of a STAC API."""
    if source.startswith("http"):
        from pystac_client import Client  # noqa: PLC0415 - not part of what others are timed with

        found = Client.open(source).search(collections=[COLLECTION])
        return sorted(found.items(), key=lambda item: item.id)
    found_here = pystac.Catalog.from_file(source).get_items(recursive=True)
    return sorted(found_here, key=lambda item: item.id)


def href(item: pystac.Item, band: str) -> str:
    """Return a band's address."""
    return item.assets[band].get_absolute_href() or item.assets[band].href


def job_of(grid: Grid, out: Path) -> Job:
    """Make an empty cube for one composite on a grid; return what its units share."""
    spec = CubeSpec(grids=(grid,), periods=(PERIOD,), sensors=(SENSOR,))
    content = {"spec": spec.model_dump(mode="json")}
    plan = Plan(kind="cube", stage_version=1, arguments={}, content=content)
    Store.create(out, plan, cube_layout(spec, {}), {})
    return Job(out=out, spec=spec, signing="none", method=Method())


def unit_of(grid: Grid, tile: Tile, items: list[pystac.Item]) -> IngestUnit:
    """Return the unit of one tile of all dates."""
    box = tile_bbox(grid, tile)
    return IngestUnit(
        tile=tile,
        window=grid.window(tile),
        time=0,
        start=PERIOD.start,
        end=PERIOD.end,
        box=box,
        scenes=tuple(_scene(item, box) for item in items),
    )


def _scene(item: pystac.Item, box: BBox) -> Scene:
    return Scene.model_validate(
        {
            "id": item.id,
            "collection": COLLECTION,
            "sensor": SENSOR.name,
            "datetime": item.datetime,
            "bbox": box,
            "hrefs": tuple((band, href(item, band)) for band in NAMES),
            "witness": "bench",
        }
    )
