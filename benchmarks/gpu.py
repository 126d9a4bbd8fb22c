"""The letter's full network on a GPU: how fast it learns and maps, and how far from the ceilings.

    python -m benchmarks.gpu                        # on a CUDA device
    python -m benchmarks.gpu --device cpu --tiny    # the same code, small enough for any machine

Images are chips of DFC2020's shape, 15 bands of 256² at 10 m, in memory. UniFeat, CoRe and
finetuning go through the package's own loop, and inference through its own network of maps, in
bfloat16 and channels_last (maps on a CPU are in float32); all four alternate, each warms up first,
and medians are told. Of each is told which share of two ceilings it reaches, both measured in the
same run: products of large square matrices, against the arithmetic of its own convolutions and
products; and copies on the device, against the bytes that its operations read and write if none are
fused. The last line is one JSON object.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sscl_geo.frozen import read_yaml
from sscl_geo.geo.inputs import BandInput, limits
from sscl_geo.learn.batches import Batch, Field
from sscl_geo.learn.fit import Metrics, Phase, fit
from sscl_geo.learn.network import Encoder, Segmenter
from sscl_geo.learn.patches import DrawSpec, Patches
from sscl_geo.learn.pretext import core, unifeat
from sscl_geo.learn.schedule import Schedule
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.learn.supervised import Finetune
from sscl_geo.plugins import shipped_file
from sscl_geo.sensors import sentinel1_grd, sentinel2_l1c
from sscl_geo.stages.map.inference import Inference, Network

CLASSES = 8
TERA = 10**12
GIGA = 10**9
TASKS = ("unifeat", "core", "finetune", "inference")


class Scale(NamedTuple):
    """How large everything is.

    Attributes:
        chips: Number of chips in memory.
        side: Side of a chip in pixels.
        steps: Steps that are timed at once.
        matrix: Side of the matrices of the ceiling.
        copied: Numbers of the copied array.
    """

    chips: int
    side: int
    steps: int
    matrix: int
    copied: int


FULL = Scale(chips=64, side=256, steps=20, matrix=8192, copied=1 << 29)
TINY = Scale(chips=6, side=48, steps=2, matrix=256, copied=1 << 22)


class Alone(NamedTuple):
    """The only rank, which keeps no checkpoint."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module as it is."""
        return module

    def restore(self) -> bytes | None:
        """Return None: there is no checkpoint."""
        return None

    def report(self, metrics: Metrics, checkpoint: Callable[[], bytes]) -> None:
        """Keep nothing."""


class Found(NamedTuple):
    """What one measurement found; `data_wait` is a share of the time."""

    images_per_s: float
    data_wait: float
    memory_mb: float


class Work(NamedTuple):
    """What one image takes: floating-point operations, and bytes read and written."""

    flops: float
    bytes: float


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the bytes of what every operation reads and writes, views and allocations left out."""

    total = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an overload of torch
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run an operation and count it."""
        out = func(*args, **(kwargs or {}))
        if not (func.is_view or "empty" in func.name() or "detach" in func.name()):
            leaves = tree_leaves((args, kwargs, out))
            self.total += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return out


class Setting(NamedTuple):
    """Where and what to measure."""

    device: torch.device
    study: Study
    scale: Scale
    network: NetworkSpec
    fields: tuple[Field, ...]


def setting_of(device: torch.device, *, is_tiny: bool) -> Setting:
    """Return the letter's study, or one like it in miniature, and chips for it."""
    study = read_yaml(Study, shipped_file("workflows/studies", "letter", "study"))
    if is_tiny:
        backbone = BackboneSpec(depth=18, width=4, rates=(1, 2), context_width=8)
        study = study.replace(features=FeatureSpec(layers=3, width=2), backbone=backbone, window=48)
    scale = TINY if is_tiny else FULL
    bands = tuple(
        BandInput(
            name=f"{sensor.name}:{band.name}", array=sensor.array, gsd=10, nodata=sensor.nodata,
            low=limits(sensor)[0], high=limits(sensor)[1], mean=sum(limits(sensor)) / 2,
            spread=(limits(sensor)[1] - limits(sensor)[0]) / 4,
        )
        for sensor in (sentinel2_l1c.SENSOR, sentinel1_grd.SENSOR)
        for band in sensor.bands
    )  # fmt: skip
    network = study.network(bands, 10)
    return Setting(device, study, scale, network, chips_of(network, scale))


def chips_of(network: NetworkSpec, scale: Scale) -> tuple[Field, ...]:
    """Return chips of noise within the limits of each band, all labelled."""
    random = np.random.default_rng(0)
    size = (scale.side, scale.side)
    return tuple(
        Field(
            {
                name: random.integers(
                    int(bands[0].low) + 1, int(bands[0].high), (len(bands), *size)
                ).astype(np.int16 if bands[0].low < 0 else np.uint16)
                for name, bands in network.arrays.items()
            },
            random.integers(CLASSES, size=size).astype(np.uint8),
        )
        for _ in range(scale.chips)
    )


def schedule_of(told: Schedule, setting: Setting) -> Schedule:
    """Return a warm-up epoch and one to time, in bfloat16."""
    small = {"batch": 4, "patch": 32} if setting.scale is TINY else {}
    steps = setting.scale.steps
    return told.replace(epochs=2, steps=steps, precision="bfloat16", **small)


def phases(setting: Setting) -> dict[str, tuple[Callable[[], nn.Module], Schedule, str]]:
    """Return how each task of the study is built, its schedule, and how its patches are drawn."""
    study, network = setting.study, setting.network
    told = {pretext.name: pretext for pretext in study.pretexts}
    made: dict[str, tuple[Callable[[], nn.Module], Schedule, str]] = {}
    for name, plugin in (("unifeat", unifeat), ("core", core)):
        settings = plugin.Settings.model_validate(told[name].settings)
        schedule = schedule_of(told[name].schedule, setting)
        made[name] = (partial(build_pretext, plugin.build, network, settings), schedule, "area")
    finetune = schedule_of(study.finetune.schedule, setting)
    made["finetune"] = (partial(build_finetune, setting), finetune, study.finetune.sampling)
    return made


def build_pretext(
    build: Callable[..., nn.Module],
    network: NetworkSpec,
    settings: object,
) -> nn.Module:
    """Return a pretext task on an encoder of random weights."""
    return build(Encoder(network), settings)


def build_finetune(setting: Setting) -> nn.Module:
    """Return the supervised task on random weights."""
    shares = torch.full((CLASSES,), 1 / CLASSES)
    return Finetune(Segmenter(setting.network, CLASSES), setting.study.finetune.settings, shares)


def trained(setting: Setting, name: str) -> Found:
    """Train a fresh network for an epoch, and time the next one."""
    build, schedule, sampling = phases(setting)[name]
    draw = DrawSpec(schedule.patch, schedule.batch, 0, sampling)  # type: ignore[arg-type]
    patches = Patches(setting.fields, setting.network, draw)
    task = build()
    _forget_memory(setting.device)
    batch = partial(patches.batch, rank=0, world=1, device=setting.device)
    history = fit(task, [Phase(name, task, schedule, batch)], Alone(setting.device), seed=0)
    last = history[-1]
    return Found(
        float(last["patches_per_second"]), float(last["data_wait"]), float(last["memory_mb"])
    )


def mapped(setting: Setting) -> Found:
    """Time the network of maps on windows of stored numbers, copies from and to memory included."""
    network, windows = mapper(setting), windows_of(setting)
    _forget_memory(setting.device)
    network.probabilities(windows)
    started = time.perf_counter()
    for _ in range(setting.scale.steps):
        network.probabilities(windows)
    seconds = time.perf_counter() - started
    count = setting.scale.steps * len(windows)
    return Found(count / seconds, 0.0, _memory_mb(setting.device))


def mapper(setting: Setting) -> Network:
    """Return a network of random weights as maps are made with it."""
    segmenter = Segmenter(setting.network, CLASSES).eval()
    segmenter.to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Network(segmenter, 1.0, Inference(has_gpu=setting.device.type == "cuda"))


def windows_of(setting: Setting) -> list[dict[str, np.ndarray]]:
    """Return a batch of windows."""
    side, count = setting.study.window, mapper_batch(setting)
    return [
        {name: array[:, :side, :side] for name, array in field.arrays.items()}
        for field in setting.fields[:count]
    ]


def mapper_batch(setting: Setting) -> int:
    """Return how many windows maps ask for at a time."""
    return Inference(has_gpu=setting.device.type == "cuda").batch


def work_of(setting: Setting, name: str) -> Work:
    """Return what an image takes; of training, forwards and backwards without the optimiser."""
    if name == "inference":
        network, windows = mapper(setting), windows_of(setting)
        return counted(lambda: network.probabilities(windows), len(windows))
    build, schedule, sampling = phases(setting)[name]
    draw = DrawSpec(schedule.patch, schedule.batch, 0, sampling)  # type: ignore[arg-type]
    batch = Patches(setting.fields, setting.network, draw).batch(0, 0, 1, setting.device)
    task = build().to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return counted(partial(step, task, batch, setting.device), schedule.batch)


def step(task: nn.Module, batch: Batch, device: torch.device) -> None:
    """Compute a loss and its gradients."""
    with torch.autocast(device.type, torch.bfloat16):
        loss = task(batch, torch.Generator().manual_seed(0))
    torch.autograd.backward(loss)


def counted(act: Callable[[], object], images: int) -> Work:
    """Return what an act takes for each of its images."""
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:  # type: ignore[no-untyped-call]
        act()
    return Work(flops.get_total_flops() / images, traffic.total / images)


def ceilings(setting: Setting) -> dict[str, float]:
    """Return bfloat16 operations, and copied bytes read and written, a second."""
    device, scale = setting.device, setting.scale
    a, b = (torch.randn(scale.matrix, scale.matrix, device=device).bfloat16() for _ in "ab")
    numbers = torch.zeros(scale.copied, dtype=torch.bfloat16, device=device)
    other = torch.empty_like(numbers)
    product = rate(lambda: a @ b, 2 * scale.matrix**3, device)
    copy = rate(lambda: other.copy_(numbers), 2 * numbers.nbytes, device)
    return {"matmul": product, "copy": copy}


def rate(act: Callable[[], object], amount: float, device: torch.device, times: int = 20) -> float:
    """Return an amount a second, by an act that is done so often at once."""
    for _ in range(3):
        act()
    _wait(device)
    started = time.perf_counter()
    for _ in range(times):
        act()
    _wait(device)
    return amount * times / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _memory_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def measured(setting: Setting, runs: int) -> dict[str, list[Found]]:
    """Return what every run found; runs alternate over the tasks."""
    found: dict[str, list[Found]] = {name: [] for name in TASKS}
    for _ in range(runs):
        for name, results in found.items():
            results.append(mapped(setting) if name == "inference" else trained(setting, name))
    return found


def told(setting: Setting, runs: int) -> dict[str, float | str]:
    """Measure, print the table, and return its numbers."""
    tops = [ceilings(setting)]
    found = measured(setting, runs)
    tops.append(ceilings(setting))
    top = {name: statistics.median(one[name] for one in tops) for name in ("matmul", "copy")}
    name = device_name(setting.device)
    print(f"{name}: {top['matmul'] / TERA:.1f} bf16 TFLOP/s, copies {top['copy'] / GIGA:.1f} GB/s")
    print(f"{'':10}{'images/s':>10}{'of matmul':>11}{'of copy':>9}{'data wait':>11}{'MiB':>8}")
    numbers: dict[str, float | str] = {
        "device": name,
        "torch": torch.__version__,
        "matmul_tflops": short(top["matmul"] / TERA),
        "copy_gb_per_s": short(top["copy"] / GIGA),
    }
    for task, results in found.items():
        work = work_of(setting, task)
        speed, wait, memory = (statistics.median(column) for column in zip(*results, strict=True))
        of_matmul, of_copy = speed * work.flops / top["matmul"], speed * work.bytes / top["copy"]
        print(f"{task:10}{speed:10.1f}{of_matmul:11.1%}{of_copy:9.1%}{wait:11.1%}{memory:8.0f}")
        numbers |= {
            f"{task}_images_per_s": short(speed),
            f"{task}_of_matmul": short(of_matmul),
            f"{task}_of_copy": short(of_copy),
            f"{task}_data_wait": short(wait),
        }
    return numbers


def short(number: float) -> float:
    """Return a number to three digits."""
    return float(f"{number:.3g}")


def device_name(device: torch.device) -> str:
    """Return what the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {platform.machine()}, {torch.get_num_threads()} threads"


def main() -> int:
    """Measure and print; return 2 where there is no such device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small network on small chips")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: --device cuda: torch finds no GPU on this machine; --device cpu --tiny shows "
            "that the benchmark works",
            file=sys.stderr,
        )
        return 2
    setting = setting_of(torch.device(chosen.device), is_tiny=chosen.tiny)
    print(json.dumps(told(setting, chosen.runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
