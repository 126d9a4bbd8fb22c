"""Feeding and the contrastive loss, against what a user would write instead.

    python -m benchmarks.train

Loader: fed steps against the same steps on a batch that is already in memory; patches of 256² x 14
from a cold cube against one Zarr read a patch; and from the decoded cache. Loss: UniFeat's at N=32,
D=64, P=4096 against a loop over locations, and against its three batched products alone; its memory
against METHOD's arithmetic of 12 N² P bytes of logits. The last line is one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cubes import network, write_cube
from benchmarks.peak import peak_bytes, reset_peak
from sscl_geo.io.cubes import Cube
from sscl_geo.io.fields import decoded
from sscl_geo.learn.batches import Batch, Field
from sscl_geo.learn.contrast import ContrastSpec, contrastive_loss
from sscl_geo.learn.fit import Phase, fit
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.patches import DrawSpec, Patches
from sscl_geo.learn.pretext import core
from sscl_geo.learn.schedule import Schedule
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.gangs.local import LocalRank

SIDE, TILE, PATCH = 2046, 2048, 256
ROUNDS = 3
SAMPLES, DIM, LOCATIONS = 32, 64, 4096
UNMIXED = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Lets glibc give every tensor a mapping of its own, so that what it keeps for reuse, as CUDA's
allocator does, is not counted as the loss's."""


def patches_of(cube: Cube, spec: NetworkSpec, cache: Path, draw: DrawSpec) -> Patches:
    """Return patches of a cube that is decoded on the way."""
    places = cube.wanted([band.name for band in spec.bands])
    fields = tuple(Field(piece.arrays, None) for piece in decoded(cube, places, cache))
    return Patches(fields, spec, draw)


def seconds(act: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def cold_rates(cube: Cube, spec: NetworkSpec) -> tuple[float, float]:
    """Return patches a second from a cold cube by us, and by one Zarr read a patch and array."""
    count, batch = 512, 32
    cpu = torch.device("cpu")

    def ours() -> None:
        with tempfile.TemporaryDirectory() as cache:
            patches = patches_of(cube, spec, Path(cache), DrawSpec(PATCH, batch, 0, "area"))
            for step in range(count // batch):
                patches.batch(step, 0, 1, cpu)

    zone = cube.spec.grids[0].zone
    arrays = [(cube.store.array(f"{zone}/{a}"), g) for a, g in (
        ("r10m/s2", 1), ("r20m/s2", 2), ("r10m/s1", 1)
    )]  # fmt: skip
    single = 64

    def reads() -> None:
        random = np.random.default_rng(1)
        for _ in range(single):
            y, x = (int(v) // 2 * 2 for v in random.integers(0, SIDE - PATCH, 2))
            for array, factor in arrays:
                size = PATCH // factor
                top, left = y // factor, x // factor
                np.asarray(array[0, :, top : top + size, left : left + size])

    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(count / seconds(ours))
        theirs.append(single / seconds(reads))
    return statistics.median(mine), statistics.median(theirs)


def cached_rate(cube: Cube, spec: NetworkSpec, cache: Path) -> float:
    """Return patches a second from the decoded cache."""
    patches, cpu = (
        patches_of(cube, spec, cache, DrawSpec(PATCH, 32, 0, "area")),
        torch.device("cpu"),
    )

    def draw() -> None:
        for step in range(32):
            patches.batch(step, 0, 1, cpu)

    draw()
    return statistics.median(32 * 32 / seconds(draw) for _ in range(ROUNDS))


def loader_efficiency(cube: Cube, spec: NetworkSpec, cache: Path) -> float:
    """Return the throughput of fed steps over that of steps on a batch in memory."""
    patches, cpu = patches_of(cube, spec, cache, DrawSpec(128, 8, 0, "area")), torch.device("cpu")
    fixed = patches.batch(0, 0, 1, cpu)
    draws: dict[str, Callable[[int], Batch]] = {
        "fed": lambda step: patches.batch(step, 0, 1, cpu),
        "memory": lambda _: fixed,
    }
    found: dict[str, list[float]] = {name: [] for name in draws}
    for _ in range(ROUNDS):
        for name, draw in draws.items():
            task = core.build(Encoder(spec), core.Settings())
            schedule = Schedule(epochs=1, steps=20, batch=8, patch=128)
            with tempfile.TemporaryDirectory() as folder:
                rank = LocalRank(Path(folder), Ranks())
                history = fit(task, [Phase("core", task, schedule, draw)], rank, seed=0)
            found[name].append(float(history[0]["patches_per_second"]))
    return statistics.median(found["fed"]) / statistics.median(found["memory"])


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings of a pair of bands."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(LOCATIONS, SAMPLES, DIM, generator=generator) for _ in "ab")
    return a.requires_grad_(), b.requires_grad_(), torch.ones(LOCATIONS, SAMPLES, dtype=torch.bool)


def loss_ours() -> None:
    """The loss and its gradient."""
    a, b, valid = drawn()
    torch.autograd.backward(contrastive_loss(a, b, valid, ContrastSpec()))


def loss_loop() -> None:
    """The same, location by location."""
    a, b, valid = drawn()
    total = torch.zeros(())
    for place in range(LOCATIONS):
        at = slice(place, place + 1)
        total = total + contrastive_loss(a[at], b[at], valid[at], ContrastSpec())
    torch.autograd.backward(total / LOCATIONS)


def loss_products() -> None:
    """Its three batched products, and nothing of the loss."""
    a, b, _ = drawn()
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    products = [torch.bmm(a, a.mT), torch.bmm(a, b.mT), torch.bmm(b, b.mT)]
    torch.autograd.backward(torch.stack([product.sum() for product in products]).sum())


LOSSES = {"ours": loss_ours, "loop": loss_loop, "products": loss_products}


def loss_seconds() -> dict[str, float]:
    """Return the median time of each way."""
    found: dict[str, list[float]] = {name: [] for name in LOSSES}
    for _ in range(ROUNDS):
        for name, act in LOSSES.items():
            found[name].append(seconds(act))
    return {name: statistics.median(times) for name, times in found.items()}


def memory_ratio(given: dict[str, str]) -> float:
    """Return the memory of the loss over its arithmetic.

    That is the embeddings, and the logits and normalised embeddings of the locations that are
    computed at a time, each with its gradient.

    Args:
        given: Variables of the environment in which it is measured.
    """
    command = [sys.executable, "-m", "benchmarks.train", "--memory"]
    done = subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, text=True, env={**os.environ, **given}
    )
    held = json.loads(done.stdout.splitlines()[-1])["bytes"]
    embedding = 8 * SAMPLES * DIM
    at_a_time = min(ContrastSpec().chunk, LOCATIONS) * (12 * SAMPLES**2 + embedding)
    return float(held / (2 * LOCATIONS * embedding + 2 * at_a_time))


def measure_memory() -> None:
    """Print the growth of this process's peak over one loss and gradient.

    Not the first, which brings in 60 MB of libraries.
    """
    few = torch.randn(2, SAMPLES, DIM).requires_grad_()
    is_valid = torch.ones(2, SAMPLES, dtype=torch.bool)
    torch.autograd.backward(contrastive_loss(few, few, is_valid, ContrastSpec()))
    reset_peak()
    before = peak_bytes()
    loss_ours()
    print(json.dumps({"bytes": peak_bytes() - before}))


def main() -> None:
    """Measure everything."""
    if "--memory" in sys.argv:
        measure_memory()
        return
    with tempfile.TemporaryDirectory() as folder:
        cube = write_cube(Path(folder) / "cube.zarr", SIDE, TILE)
        spec, cache = network(cube), Path(folder) / "cache"
        mine, single = cold_rates(cube, spec)
        print(f"cold cube: {mine:.0f} patches/s; one Zarr read each: {single:.0f}")
        cached = cached_rate(cube, spec, cache)
        print(f"decoded cache: {cached:.0f} patches/s")
        efficiency = loader_efficiency(cube, spec, cache)
    times = loss_seconds()
    print(", ".join(f"{name} {value:.2f} s" for name, value in times.items()))
    told = {
        "loader_efficiency": efficiency,
        "cold_vs_single_reads": mine / single,
        "cached_patches_per_s": cached,
        "unifeat_vs_loop": times["loop"] / times["ours"],
        "unifeat_vs_bmm": times["ours"] / times["products"],
        "unifeat_memory_ratio": memory_ratio(UNMIXED),
        "unifeat_memory_ratio_with_what_malloc_keeps": memory_ratio({}),
    }
    print(json.dumps({name: round(value, 3) for name, value in told.items()}))


if __name__ == "__main__":
    main()
