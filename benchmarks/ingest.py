"""Our composite against what a user would reach for: odc-stac, and plain decoding as the floor.

Twelve dates of ten bands of 2048 x 2048 pixels become one median composite in a sharded Zarr store,
from files on disk and over loopback HTTP. Every variant reads the same COGs, writes the same pixels
(checked) and runs in a process of its own; imports are not counted. Variants alternate.

    pip install -e '.[all,bench]'
    python benchmarks/ingest.py --data /tmp/sscl-bench --runs 3

The last line is one JSON object: ratios of CPU time, medians over the runs, the worse of disk and
HTTP, and the largest resident size of ours.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import zarr

from sscl_geo.demo.items import CRS, ground_transform, new_item
from sscl_geo.demo.randomfield import matern
from sscl_geo.demo.serve import served
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import tile_bbox
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.sensor import Band, Sensor
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.plan import Plan
from sscl_geo.io.publish.cog import write_cog
from sscl_geo.io.store import Store
from sscl_geo.ops.compositors import median
from sscl_geo.stages.ingest.composite import Job, composite_unit
from sscl_geo.stages.ingest.request import IngestUnit, Method

DATES, BANDS, SIDE = 12, 10, 2048
NAMES = tuple(f"b{number}" for number in range(BANDS))
START = datetime(2024, 4, 1, 10, tzinfo=UTC)
COLLECTION = "bench"
TOLD = "{where:5} {variant:11} cpu {cpu:6.2f} s  wall {wall:6.2f} s  peak {peak_rss_mb:5.0f} MB"
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


def new_store(out: Path) -> Store:
    """Return an empty cube for one composite."""
    period = Period(start=date(2024, 4, 1), end=date(2024, 7, 1))
    spec = CubeSpec(grids=(GRID,), periods=(period,), sensors=(SENSOR,))
    plan = Plan(
        kind="cube", stage_version=1, arguments={}, content={"spec": spec.model_dump(mode="json")}
    )
    return Store.create(out, plan, cube_layout(spec, {}), {})


def ours(items: list[pystac.Item], out: Path) -> None:
    """One unit of ingest."""
    store = new_store(out)
    tile, window = GRID.tiles[0], GRID.window(GRID.tiles[0])
    box = tile_bbox(GRID, tile)
    scenes = tuple(_scene(item, box) for item in items)
    spec = CubeSpec.model_validate(store.plan.content["spec"])
    job = Job(out=out, spec=spec, signing="none", method=Method())
    unit = IngestUnit(
        tile=tile,
        window=window,
        time=0,
        start=date(2024, 4, 1),
        end=date(2024, 7, 1),
        box=box,
        scenes=scenes,
    )
    composite_unit(job, unit)


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


def odc_best(items: list[pystac.Item], out: Path) -> None:
    """odc-stac with threads, then the same median kernel, written in whole shards."""
    import odc.stac  # noqa: PLC0415 - only this variant pays for it

    store = new_store(out)
    loaded = odc.stac.load(items, bands=NAMES, geobox=_geobox(), dtype="uint16", nodata=0, pool=4)
    made = np.stack([median.composite(loaded[band].values) for band in NAMES])
    array = store.array(f"{GRID.zone}/r10m/s2")
    array[0] = made


def odc_xarray(items: list[pystac.Item], out: Path) -> None:
    """odc-stac with Dask and the median of xarray, as the tutorials do."""
    import dask  # noqa: PLC0415
    import odc.stac  # noqa: PLC0415

    store = new_store(out)
    chunks = {"x": 512, "y": 512}
    loaded = odc.stac.load(
        items, bands=NAMES, geobox=_geobox(), dtype="uint16", nodata=0, chunks=chunks
    )
    lazy = loaded.where(loaded != 0).median("time").to_array()
    with dask.config.set(scheduler="threads", num_workers=2):
        values = lazy.compute().values
    rounded = np.floor(np.nan_to_num(values) + 0.5).astype(np.uint16)
    store.array(f"{GRID.zone}/r10m/s2")[0] = rounded


def floor(items: list[pystac.Item], out: Path) -> None:
    """Decode every block of every COG once, and do nothing with it."""
    out.mkdir()
    for item in items:
        for band in NAMES:
            with rasterio.open(href(item, band)) as dataset:
                for _, window in dataset.block_windows(1):
                    dataset.read(1, window=window)


def _geobox() -> Any:  # noqa: ANN401 - odc's own type
    from odc.geo.geobox import GeoBox  # noqa: PLC0415

    return GeoBox(GRID.shape, GRID.block(Window(0, 0, *GRID.shape)).transform, GRID.crs)


VARIANTS: dict[str, Callable[[list[pystac.Item], Path], None]] = {
    "ours": ours,
    "odc_best": odc_best,
    "odc_xarray": odc_xarray,
    "floor": floor,
}


def run_one(variant: str, source: str) -> dict[str, Any]:
    """Run a variant in this process."""
    items = read_items(source)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cube.zarr"
        wall, cpu = time.perf_counter(), time.process_time()
        VARIANTS[variant](items, out)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        total = 0
        if variant != "floor":
            group = zarr.open_group(out, mode="r")
            total = int(np.asarray(group[f"{GRID.zone}/r10m/s2"]).astype(np.uint64).sum())
    return {"cpu": cpu, "wall": wall, "peak_rss_mb": peak, "sum": total}


def measured(sources: dict[str, str], runs: int) -> list[dict[str, Any]]:
    """Run all variants in turn, each in a process of its own."""
    found = []
    for number in range(runs):
        for where, source in sources.items():
            for variant in VARIANTS:
                command = [sys.executable, __file__, "--one", variant, "--source", source]
                done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
                one = json.loads(done.stdout.splitlines()[-1])
                found.append({"run": number, "where": where, "variant": variant, **one})
                print(TOLD.format(**found[-1]))
    return found


def ratios(found: list[dict[str, Any]]) -> dict[str, float]:
    """Return medians of CPU time relative to ours, the worst of all places."""

    def cpu(where: str, variant: str) -> float:
        found_there = [o["cpu"] for o in found if (o["where"], o["variant"]) == (where, variant)]
        return float(statistics.median(found_there))

    places = {one["where"] for one in found}
    return {
        "cpu_ratio_odc_best": min(cpu(p, "odc_best") / cpu(p, "ours") for p in places),
        "cpu_ratio_xarray_median": min(cpu(p, "odc_xarray") / cpu(p, "ours") for p in places),
        "cpu_ratio_decode_floor": max(cpu(p, "ours") / cpu(p, "floor") for p in places),
        "peak_rss_mb": max(one["peak_rss_mb"] for one in found if one["variant"] == "ours"),
    }


def main() -> None:
    """Run everything, or with --one a single variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "sscl-bench")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", choices=VARIANTS)
    parser.add_argument("--source")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(run_one(chosen.one, chosen.source)))
        return
    catalog = write_scenes(chosen.data)
    with served(catalog) as urls:
        found = measured({"disk": str(catalog), "http": urls.api}, chosen.runs)
    sums = {one["sum"] for one in found if one["variant"] != "floor"}
    if len(sums) > 1:
        raise SystemExit(f"the variants do not write the same pixels: {sorted(sums)}")
    print(json.dumps({name: round(value, 2) for name, value in ratios(found).items()}))


if __name__ == "__main__":
    main()
