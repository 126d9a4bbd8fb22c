"""One Dask worker against two: four units of ingest of twelve dates of ten bands.

    python -m benchmarks.scaling --data /tmp/sscl-bench --runs 3

The last line is one JSON object: the wall time with two workers over that with one, medians of
alternating runs; starting the cluster is not counted.
"""

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster

from benchmarks.scenes import GRID, job_of, read_items, unit_of, write_scenes
from sscl_geo.runtime.executors.dask import execute
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest.composite import composite_unit

TILES = GRID.replace(tile_px=1024)


def seconds(catalog: Path, workers: int) -> float:
    """Return the wall time of all units with so many workers."""
    items = read_items(str(catalog))
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        job = job_of(TILES, Path(folder) / "cube.zarr")
        units = [unit_of(TILES, tile, items) for tile in TILES.tiles]
        with Client(cluster) as client:
            client.run(__import__, "sscl_geo.stages.ingest.composite")
        machines = Machines(executor="dask", address=cluster.scheduler_address)
        started = time.perf_counter()
        outcomes = list(execute(partial(composite_unit, job), units, machines))
        taken = time.perf_counter() - started
    if any(outcome.status != "done" for outcome in outcomes):
        raise SystemExit(f"units failed: {[outcome.cause for outcome in outcomes]}")
    return taken


def main() -> None:
    """Alternate one and two workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "sscl-bench")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    catalog = write_scenes(chosen.data)
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(chosen.runs):
        for workers, times in found.items():
            times.append(seconds(catalog, workers))
            print(f"{workers} workers: {times[-1]:.1f} s")
    one, two = (statistics.median(found[workers]) for workers in (1, 2))
    told = {"wall_ratio_two_workers": two / one, "one_s": one, "two_s": two}
    print(json.dumps({name: round(value, 2) for name, value in told.items()}))


if __name__ == "__main__":
    main()
