"""Compare the median compositor with numpy.nanmedian and with a full sort, on one core.

`python benchmarks/median.py [SIDE]` prints one line of JSON: millions of input samples per second
of CPU time, of 12 times and 4 bands of SIDE x SIDE pixels: without gaps, with 35 % hidden by the
weights, and with 35 % of the samples missing.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

from sscl_geo.ops.compositors.median import composite
from sscl_geo.ops.sorting_network import ranked

TIMES, BANDS, MISSING, RUNS = 12, 4, 0.35, 3


def nanmedian(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median as NumPy has it."""
    values = np.where((stack == 0) | (weights[:, np.newaxis] == 0), np.float32(np.nan), stack)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        median = np.nan_to_num(np.nanmedian(values, axis=0))
    return np.asarray(np.floor(median + 0.5).astype(np.uint16))


def fullsort(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median by sorting every pixel with missing observations last."""
    seen = np.where(weights[:, np.newaxis] == 0, np.uint16(0), stack)
    count = np.count_nonzero(seen, axis=0)
    flat = np.where(seen == 0, np.uint16(65535), seen).reshape(len(seen), -1, stack.shape[-1])
    ordered = np.stack(ranked(list(flat), tuple(range(len(flat))))).reshape(stack.shape)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(stack) - 1)])
    lower, upper = np.take_along_axis(ordered, middle, axis=0).astype(np.uint32)
    return np.where(count == 0, 0, (lower + upper + 1) // 2).astype(np.uint16)


def ours(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median as the compositor has it."""
    return composite(stack, weights).pixels


def speed(median: Callable[..., np.ndarray], *inputs: np.ndarray) -> int:
    """Return the best speed of some runs in millions of samples per second."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        median(*inputs)
        seconds.append(time.process_time() - start)
    return round(inputs[0].size / min(seconds) / 1e6)


def main(side: int) -> None:
    """Measure and print."""
    random = np.random.default_rng(0)
    stack = random.integers(1, 12000, (TIMES, BANDS, side, side), dtype=np.uint16)
    every = np.ones((TIMES, side, side), np.uint8)
    some = (random.random(every.shape) >= MISSING).astype(np.uint8)
    gaps = np.where(random.random(stack.shape) < MISSING, np.uint16(0), stack)
    cases = {"full": (stack, every), "hidden": (stack, some), "gaps": (gaps, every)}
    speeds: dict[str, dict[str, int]] = {}
    for case, inputs in cases.items():
        if not np.array_equal(ours(*inputs), nanmedian(*inputs)):
            raise SystemExit(f"{case}: the compositor and numpy.nanmedian differ")
        speeds[case] = {f.__name__: speed(f, *inputs) for f in (ours, fullsort, nanmedian)}
    print(json.dumps({"side_px": side, "mpx_per_s": speeds}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
