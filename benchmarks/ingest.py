"""Our composite against what a user would reach for: odc-stac, and plain decoding as the floor.

Twelve dates of ten bands of 2048 x 2048 pixels become one median composite in a sharded Zarr store,
from files on disk and over loopback HTTP. Every variant reads the same COGs, writes the same pixels
(checked) and runs in a process of its own; imports are not counted. Variants alternate.

    pip install -e '.[all,bench]'
    python -m benchmarks.ingest --data /tmp/sscl-bench --runs 3

The last line is one JSON object: ratios of CPU time, medians over the runs, the worse of disk and
HTTP, and the largest resident size of ours.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import zarr

from benchmarks.peak import peak_bytes, reset_peak
from benchmarks.scenes import DATES, GRID, NAMES, href, job_of, read_items, unit_of, write_scenes
from sscl_geo.demo.serve import served
from sscl_geo.geo.grid import Window
from sscl_geo.io.store import Store
from sscl_geo.ops.compositors import median
from sscl_geo.stages.ingest.composite import composite_unit

ARRAY = f"{GRID.zone}/r10m/s2"
TOLD = "{where:5} {variant:11} cpu {cpu:6.2f} s  wall {wall:6.2f} s  peak {peak_rss_mb:5.0f} MB"


def ours(items: list[pystac.Item], out: Path) -> None:
    """One unit of ingest."""
    composite_unit(job_of(GRID, out), unit_of(GRID, GRID.tiles[0], items))


def odc_best(items: list[pystac.Item], out: Path) -> None:
    """odc-stac with threads, then the same median kernel, written in whole shards."""
    import odc.stac  # noqa: PLC0415 - only this variant pays for it

    job_of(GRID, out)
    loaded = odc.stac.load(items, bands=NAMES, geobox=_geobox(), dtype="uint16", nodata=0, pool=4)
    weights = np.ones((DATES, *GRID.shape), np.uint8)
    made = [median.composite(loaded[band].values[:, None], weights).pixels[0] for band in NAMES]
    array = Store.open(out, "cube").array(ARRAY)
    array[0] = np.stack(made)


def odc_xarray(items: list[pystac.Item], out: Path) -> None:
    """odc-stac with Dask and the median of xarray, as the tutorials do."""
    import dask  # noqa: PLC0415
    import odc.stac  # noqa: PLC0415

    job_of(GRID, out)
    chunks: dict[str, Any] = {"x": 512, "y": 512}
    loaded = odc.stac.load(
        items, bands=NAMES, geobox=_geobox(), dtype="uint16", nodata=0, chunks=chunks
    )
    lazy = loaded.where(loaded != 0).median("time").to_array()
    with dask.config.set(scheduler="threads", num_workers=2):
        values = lazy.compute().values
    rounded = np.floor(np.nan_to_num(values) + 0.5).astype(np.uint16)
    Store.open(out, "cube").array(ARRAY)[0] = rounded


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
        reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        VARIANTS[variant](items, out)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = peak_bytes() / 2**20
        total = 0
        if variant != "floor":
            group = zarr.open_group(out, mode="r")
            total = int(np.asarray(group[ARRAY]).astype(np.uint64).sum())
    return {"cpu": cpu, "wall": wall, "peak_rss_mb": peak, "sum": total}


def measured(sources: dict[str, str], runs: int) -> list[dict[str, Any]]:
    """Run all variants in turn, each in a process of its own."""
    found = []
    for number in range(runs):
        for where, source in sources.items():
            for variant in VARIANTS:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.ingest",
                    "--one",
                    variant,
                    "--source",
                    source,
                ]
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
