"""The whole of mapping against the bare network, and against dask's map_overlap.

    python -m benchmarks.map            # add --driver for the scheduler's cost of 75,000 tiles

A tile of 2046 x 2046 pixels and 14 bands is mapped by one process with one thread, in windows of
256 px with halos of 32 px: by `make_map`, files, overviews and COG included; by the bare network on
the same windows, already in memory; and as a user would without us, by `map_overlap` over the same
store with the same network and halo, whose seams it does not blend: in chunks of 512 px, which
compute few pixels twice, and in chunks of 192 px, which show the network what it was trained on,
256 px with the halo, as we do. Peak memory is that of processes of their own, over what they hold
before they begin. The last line is one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import psutil
import torch
import zarr
from safetensors.torch import load_file

from benchmarks.cubes import network, write_cube
from benchmarks.peak import peak_bytes, reset_peak
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.grid import Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card, write_bundle
from sscl_geo.io.cubes import Cube
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.tuning import prepare_inference
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.plugins import shipped
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.map import make_map
from sscl_geo.stages.map.inference import Inference, Network, Stored
from sscl_geo.stages.map.tile import unit_bytes

SIDE, TILE, WINDOW, HALO = 2046, 2048, 256, 32
CHUNK, SMALL_CHUNK = 512, WINDOW - 2 * HALO
MANY_SIDE, MANY_TILE = 1800, 256
ROUNDS = 3


def prepare(folder: Path) -> None:
    """Write the cubes and a bundle of random weights."""
    torch.manual_seed(0)
    cube = write_cube(folder / "cube.zarr", SIDE, TILE)
    write_cube(folder / "many.zarr", MANY_SIDE, MANY_TILE)
    spec = network(cube)
    legend = read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")
    segmenter = Segmenter(spec, len(legend.classes))
    bundle = Bundle(
        kind="model", network=spec.model_dump(mode="json"), legend=legend, window=WINDOW, halo=HALO
    )
    weights = {name: value.numpy() for name, value in segmenter.state_dict().items()}
    write_bundle(folder / "model", bundle, weights)


def segmenter_of(folder: Path) -> Segmenter:
    """Return the network, ready to map."""
    bundle = read_card(folder / "model")
    classes = 0 if bundle.legend is None else len(bundle.legend.classes)
    segmenter = Segmenter(NetworkSpec.model_validate(bundle.network), classes)
    segmenter.load_state_dict(load_file(folder / "model" / "model.safetensors"))
    return segmenter.eval()


def ours(folder: Path) -> Callable[[], object]:
    """Return what maps the cube as the product does."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "map.zarr"
    return lambda: make_map(folder / "cube.zarr", folder / "model", out, Machines())


def bare(folder: Path) -> Callable[[], object]:
    """Return what runs the network on every window that mapping computes, already in memory."""
    segmenter, cube = segmenter_of(folder), Cube.open(folder / "cube.zarr")
    prepare_inference(segmenter, "cpu")
    grid, spec = cube.spec.grids[0], segmenter.encoder.spec
    lattice = checked_lattice(WINDOW, HALO)
    asked = Network(segmenter, 1.0, Inference())
    places = cube.wanted([band.name for band in spec.bands])
    window = lattice.covering(Window(0, 0, TILE, TILE), grid.lattice_origin)[0]
    stored: Stored = cube.read(grid.zone, 0, places, window)
    count = sum(
        len(lattice.covering(grid.window(tile), grid.lattice_origin)) for tile in grid.tiles
    )

    def run() -> None:
        for _ in range(count):
            asked.probabilities([stored])

    return run


def overlap(folder: Path, chunk: int = CHUNK) -> Callable[[], object]:
    """Return what maps the cube with dask's map_overlap, block by block."""
    segmenter, cube = segmenter_of(folder), Cube.open(folder / "cube.zarr")
    zone, spec = cube.spec.grids[0].zone, segmenter.encoder.spec
    sizes = {name: len(bands) for name, bands in spec.arrays.items()}
    planes = []
    for name in sizes:
        array = da.from_zarr(str(folder / "cube.zarr"), f"{zone}/{name}")[0]
        factor = SIDE // array.shape[1]
        whole = array.rechunk((-1, chunk // factor, chunk // factor)).astype(np.int32)
        planes.append(whole.repeat(factor, 1).repeat(factor, 2))
    stacked = da.concatenate(planes).rechunk((-1, chunk, chunk))
    out = Path(tempfile.mkdtemp(dir=folder)) / "overlap.zarr"

    @torch.inference_mode()
    def classes(block: np.ndarray) -> np.ndarray:
        first, stored = 0, {}
        for name, bands in spec.arrays.items():
            factor = bands[0].gsd // 10
            part = block[first : first + len(bands), ::factor, ::factor]
            stored[name] = torch.from_numpy(np.ascontiguousarray(part))[None]
            first += len(bands)
        bands_seen = segmenter.encoder.normalise(stored)
        logits = segmenter(bands_seen.values, bands_seen.is_absent)
        found: np.ndarray = logits.argmax(1).numpy().astype(np.uint8)
        return found

    mapped = stacked.map_overlap(
        classes, depth={1: HALO, 2: HALO}, boundary="reflect", dtype=np.uint8,
        meta=np.zeros((0, 0, 0), np.uint8), chunks=((1,), *stacked.chunks[1:]),
    )  # fmt: skip

    def run() -> None:
        zarr.open_group(out, mode="w")
        with dask.config.set(scheduler="synchronous"):
            mapped[0].to_zarr(str(out), component="landcover", overwrite=True)

    return run


WAYS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "ours": ours,
    "bare": bare,
    "overlap": overlap,
    "overlap_same_windows": partial(overlap, chunk=SMALL_CHUNK),
}


def alone(folder: Path, way: str) -> dict[str, float]:
    """Return seconds and bytes of one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.map", "--way", way, "--data", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def one(folder: Path, way: str) -> dict[str, float]:
    """Run one way here; what it holds before it begins is not counted."""
    torch.set_num_threads(1)
    act = WAYS[way](folder)
    # Code that is loaded at its first use belongs to no tile.
    warm = Network(segmenter_of(folder), 1.0, Inference())
    spec = warm.model.encoder.spec
    warm.probabilities([{
        name: np.ones((len(bands), 640 // bands[0].gsd, 640 // bands[0].gsd), np.uint16)
        for name, bands in spec.arrays.items()
    }])  # fmt: skip
    reset_peak()
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": peak_bytes() - before}


def growth(folder: Path) -> float:
    """Return memory in the last fifth of a map of 64 tiles over that in the second fifth."""
    torch.set_num_threads(1)
    out = Path(tempfile.mkdtemp(dir=folder)) / "map.zarr"
    held: list[int] = []
    has_ended = threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.05):
            held.append(psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    make_map(folder / "many.zarr", folder / "model", out, Machines())
    has_ended.set()
    watcher.join()
    fifth = len(held) // 5
    return statistics.median(held[-fifth:]) / statistics.median(held[fifth : 2 * fifth])


def main() -> None:
    """Alternate the ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--way", choices=[*WAYS, "growth"])
    parser.add_argument("--driver", action="store_true")
    chosen = parser.parse_args()
    if chosen.way == "growth":
        print(json.dumps({"growth": growth(chosen.data)}))
        return
    if chosen.way:
        print(json.dumps(one(chosen.data, chosen.way)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, runs in found.items():
                runs.append(alone(folder, way))
                print(f"{way}: {runs[-1]['seconds']:.1f} s, {runs[-1]['bytes'] / 2**20:.0f} MiB")
        planned = unit_bytes(read_card(folder / "model"), TILE, Inference())
        grown = alone(folder, "growth")["growth"]
    seconds, held = (
        {way: statistics.median(run[key] for run in runs) for way, runs in found.items()}
        for key in ("seconds", "bytes")
    )
    result = {
        "pipeline_efficiency": seconds["bare"] / seconds["ours"],
        "vs_map_overlap_speed": seconds["overlap"] / seconds["ours"],
        "vs_map_overlap_memory": held["overlap"] / held["ours"],
        "vs_same_windows_speed": seconds["overlap_same_windows"] / seconds["ours"],
        "vs_same_windows_memory": held["overlap_same_windows"] / held["ours"],
        "memory_vs_planned": held["ours"] / planned,
        "memory_growth_over_tiles": grown,
        "mpx_per_s": SIDE**2 / seconds["ours"] / 1e6,
    }
    if chosen.driver:
        command = [sys.executable, "-m", "benchmarks.driver"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        driver = json.loads(done.stdout.splitlines()[-1])
        result["scheduler_seconds_72k"] = driver["seconds"] * 72_000 / driver["units"]
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
