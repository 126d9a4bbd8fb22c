"""Which chips show the same ground, told by their pixels alone.

Chips of one global lattice of pixels that overlap hold the same numbers of what does not change,
such as elevation, at one offset. Runs of pixels that are equal in two chips vote for an offset, and
the whole of what two chips would share must then agree.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

RUN = 24
"""Pixels of a run along a row."""

LEAST_CHANGES = 8
"""How often its numbers must change along it: flat ground is alike everywhere."""

LEAST_VOTES = 30
LAGS = 4
"""How far apart two runs may stand in the order of their digests: so many chips may overlap."""

LEAST_AGREEMENT = 0.5
"""Share of what two chips would share that is equal in all layers."""

Layers = Sequence[Integer[np.ndarray, "chip y x"]]


def places_of(layers: Layers, names: Sequence[str]) -> list[str]:
    """Return the place of each chip: one name for all that share ground, directly or by others.

    Args:
        layers: What does not change with time, on the chips' pixels.
        names: The places that the chips are known by; chips of one stay together. The first name of
            those that belong together stands for all.
    """
    _, named = np.unique(np.array(names), return_inverse=True)
    first = {group: chip for chip, group in reversed(list(enumerate(named.tolist())))}
    pairs = [*overlapping(layers), *((first[g], chip) for chip, g in enumerate(named.tolist()))]
    one, two = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (one, two)), shape=(len(names), len(names)))
    _, found = connected_components(graph, directed=False)
    standing = {group: names[chip] for chip, group in reversed(list(enumerate(found.tolist())))}
    return [standing[group] for group in found.tolist()]


def overlapping(layers: Layers) -> list[tuple[int, int]]:
    """Return the pairs of chips that share ground; overlaps without relief are not seen.

    Args:
        layers: What does not change with time, on the chips' pixels.
    """
    if layers[0].shape[-1] < RUN:
        return []
    digests, is_telling = _digests(layers), _is_telling(layers)
    runs = np.argwhere(is_telling)
    keys = digests[is_telling]
    order = np.argsort(keys, kind="stable")
    keys, runs = keys[order], runs[order]
    votes = np.concatenate([_votes(keys, runs, lag) for lag in range(1, LAGS + 1)])
    # As one number each, which sorts quickly.
    count, *sides = layers[0].shape
    shape = (count, count, *(2 * side for side in sides))
    shift = np.array([0, 0, *sides])
    flat = np.ravel_multi_index(tuple((votes + shift).T), shape)
    found, counts = np.unique(flat, return_counts=True)
    likely = np.column_stack(np.unravel_index(found[counts >= LEAST_VOTES], shape))
    offsets = (likely - shift).tolist()
    return sorted({(one, two) for one, two, dy, dx in offsets if _agree(layers, one, two, dy, dx)})


def _digests(layers: Layers) -> UInt64[np.ndarray, "chip y run"]:
    factors = np.random.default_rng(0).integers(1, 2**63, (len(layers), RUN), np.uint64)
    count = layers[0].shape[-1] - RUN + 1
    digests = np.zeros((*layers[0].shape[:2], count), np.uint64)
    for number, layer in enumerate(layers):
        for step in range(RUN):
            digests += factors[number, step] * layer[:, :, step : step + count].astype(np.uint64)
    return digests


def _is_telling(layers: Layers) -> Bool[np.ndarray, "chip y run"]:
    changes = sum((np.diff(layer, axis=2) != 0).astype(np.int64) for layer in layers)
    sums = np.pad(np.cumsum(changes, axis=2), ((0, 0), (0, 0), (1, 0)))
    is_telling: np.ndarray = sums[:, :, RUN - 1 :] - sums[:, :, : -(RUN - 1)] >= LEAST_CHANGES
    return is_telling


def _votes(
    keys: UInt64[np.ndarray, " run"], runs: Int[np.ndarray, "run 3"], lag: int
) -> Int[np.ndarray, "vote 4"]:
    """Return chips and offset of runs that are equal and stand so far apart in their order."""
    is_equal = keys[lag:] == keys[:-lag]
    one, two = runs[:-lag][is_equal], runs[lag:][is_equal]
    swapped = one[:, :1] > two[:, :1]
    one, two = np.where(swapped, two, one), np.where(swapped, one, two)
    votes = np.column_stack([one[:, 0], two[:, 0], one[:, 1:] - two[:, 1:]])
    others: np.ndarray = votes[one[:, 0] != two[:, 0]]
    return others


def _agree(layers: Layers, one: int, two: int, dy: int, dx: int) -> bool:
    """Whether two chips hold the same numbers where they overlap at an offset."""
    height, width = layers[0].shape[1:]
    rows = slice(max(dy, 0), height + min(dy, 0)), slice(max(-dy, 0), height + min(-dy, 0))
    columns = slice(max(dx, 0), width + min(dx, 0)), slice(max(-dx, 0), width + min(-dx, 0))
    equal = [layer[one][rows[0], columns[0]] == layer[two][rows[1], columns[1]] for layer in layers]
    return bool(np.all(equal, axis=0).mean() >= LEAST_AGREEMENT)
