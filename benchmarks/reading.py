"""CPU seconds of reading whole tiles, against rasterio's own reading of the same windows.

`python benchmarks/reading.py` writes 12 scenes x 4 bands of deflated COGs to a temporary folder,
reads a 2048 x 2048 px tile of each from disk and by HTTP on loopback, and prints one JSON line.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from sscl_geo.demo.serve import served_files
from sscl_geo.geo.grid import Block
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import signer

CRS, CORNER = "EPSG:32633", Affine(10, 0, 500040, 0, -10, 5800020)
FILES, FILE_PX, TILE_PX = 48, 4096, 2048
ROW, COLUMN = 300, 700
WARPED = Block("EPSG:3035", Affine(10, 0, 4675000, 0, -10, 3250000), TILE_PX, TILE_PX)
NATIVE = Block(CRS, CORNER @ Affine.translation(COLUMN, ROW), TILE_PX, TILE_PX)


def write(folder: Path) -> list[str]:
    """Write the files: smooth reflectance with noise, as compressible as Sentinel-2."""
    random = np.random.default_rng(0)
    coarse = random.normal(3000, 500, (FILE_PX // 64, FILE_PX // 64))
    texture = np.kron(coarse, np.ones((64, 64))) + random.normal(0, 25, (FILE_PX, FILE_PX))
    for index in range(FILES):
        with rasterio.open(
            folder / f"{index}.tif", "w", driver="COG", height=FILE_PX, width=FILE_PX, count=1,
            dtype="uint16", crs=CRS, transform=CORNER, nodata=0, compress="deflate",
            predictor="2", blocksize=512, overviews="NONE",
        ) as target:  # fmt: skip
            target.write(np.roll(texture, index, 1).clip(1).astype(np.uint16), 1)
    return [f"{index}.tif" for index in range(FILES)]


def plain(paths: list[str]) -> None:
    """Read with rasterio alone; over HTTP that is GDAL's `/vsicurl/`."""
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_CACHEMAX=64):
        for path in paths:
            with rasterio.open(path, driver="GTiff") as dataset:
                dataset.read(1, window=((ROW, ROW + TILE_PX), (COLUMN, COLUMN + TILE_PX)))


def ours(paths: list[str], block: Block) -> None:
    """Read with the package."""
    with GeoTiffReader(signer("none")) as reader:
        for path in paths:
            reader.read(path, block, 0, "continuous")


def cpu_seconds(act: Callable[[], None]) -> float:
    """Return the least of three runs, which disturbs least."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        act()
        taken.append(time.process_time() - start)
    return round(min(taken), 2)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, served_files(Path(name)) as url:
        files = write(Path(name))
        disk, web = [f"{name}/{file}" for file in files], [f"{url}/{file}" for file in files]
        measured = {
            "rasterio_disk": cpu_seconds(lambda: plain(disk)),
            "disk": cpu_seconds(lambda: ours(disk, NATIVE)),
            "rasterio_http": cpu_seconds(lambda: plain(web)),
            "http": cpu_seconds(lambda: ours(web, NATIVE)),
            "warped_disk": cpu_seconds(lambda: ours(disk, WARPED)),
        }
        line = json.dumps({"files": FILES, "tile_px": TILE_PX, "cpu_seconds": measured})
        print(line)


if __name__ == "__main__":
    main()
