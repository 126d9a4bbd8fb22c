"""The driver's own cost for a continent: 72,000 units that do nothing, on Dask.

Half of Africa's box in UTM tiles of 20.48 km, a season of Sentinel-2 scenes over it: all that the
driver of an ingest does is done (units from scenes, submission, the ledger), but the units are
empty.

    python -m benchmarks.driver --workers 2

The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.peak import peak_bytes
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.period import Period
from sscl_geo.geo.scene import Scene
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.journal import journal
from sscl_geo.runtime.stage import execute
from sscl_geo.runtime.work import Evidence, Machines, Stage, Unit
from sscl_geo.sensors import sentinel2_l2a
from sscl_geo.stages.ingest.plan import units

BOX = BBox(-10, -25, 41, 25)
DATES = 6
GRANULE_DEGREES = 1.0
START = datetime(2024, 1, 1, 9, tzinfo=UTC)
BANDS = tuple(band.name for band in sentinel2_l2a.SENSOR.bands)


def nothing(unit: Unit) -> Evidence:
    """Do no work; tell as much as a real unit does."""
    return {"checksums": dict.fromkeys(("r10m/s2", "r20m/s2"), "0" * 32), "scenes": [unit.key] * 8}


def scenes_over(box: BBox) -> tuple[Scene, ...]:
    """Return granules of one degree over a box at some dates."""
    west, south, east, north = (int(value) for value in box)
    return tuple(
        _scene(number, x, y)
        for number in range(DATES)
        for y in range(south, north)
        for x in range(west, east)
    )


def _scene(number: int, x: int, y: int) -> Scene:
    name = f"S2A_T{x + 500:04d}{y + 500:04d}_{number}"
    hrefs = tuple((band, f"https://example.org/{name}/{band}.tif") for band in BANDS)
    return Scene(
        id=name,
        collection="sentinel-2-l2a",
        sensor="sentinel2_l2a",
        datetime=START + timedelta(days=10 * number),
        bbox=BBox(x, y, x + GRANULE_DEGREES, y + GRANULE_DEGREES),
        hrefs=hrefs,
        witness="processing_baseline",
    )


def main() -> None:
    """Plan and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", default="dask")
    chosen = parser.parse_args()
    started = time.perf_counter()
    period = Period(start=date(2024, 1, 1), end=date(2024, 4, 1))
    grids = grids_of(Area(bbox=BOX), "auto", 2048)
    spec = CubeSpec(grids=grids, periods=(period,), sensors=(sentinel2_l2a.SENSOR,))
    planned = units(spec, scenes_over(BOX), "auto")
    plan_seconds = time.perf_counter() - started
    print(f"{len(planned)} units planned in {plan_seconds:.0f} s")
    stage = Stage(
        plan=lambda: planned,
        prepare=lambda: None,
        run=nothing,
        publish=lambda _: None,
        memory=lambda: 0,
    )
    machines = Machines(executor=chosen.executor, workers=chosen.workers)
    with tempfile.TemporaryDirectory() as folder:
        done = execute(stage, journal(Path(folder)), machines, "nothing").done
    seconds = time.perf_counter() - started
    told = {
        "units": done,
        "seconds": round(seconds, 1),
        "plan_seconds": round(plan_seconds, 1),
        "peak_rss_mb": round(peak_bytes() / 2**20),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
