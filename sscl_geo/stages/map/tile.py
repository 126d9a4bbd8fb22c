"""One unit of mapping: ask the network about a tile and its surroundings, and write the layers."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card, read_weights
from sscl_geo.io.cubes import Cube
from sscl_geo.io.location import Location
from sscl_geo.io.maps import (
    COUNTS,
    MARGIN,
    PROBABILITY,
    SECOND,
    layers_of,
    write_layers,
)
from sscl_geo.io.store import Store
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.memory import model_bytes
from sscl_geo.learn.network import Model, model_of
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.tuning import prepare_inference
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.work import Evidence, TileUnit
from sscl_geo.stages.map.inference import STRIP_ROWS, Inference, Network, blended

COPIES = 4
"""Strips that are held at a time: one in use, and one that is read, in pieces, into order."""

BYTES_PER_PIXEL = 28
"""Bytes of a tile's layers and of what they are made of, per pixel, probabilities not counted."""

MOST_OBSERVATIONS = 255

Layer = UInt8[np.ndarray, "y x"]


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        cube: Where the cube is, for any process.
        model: Absolute path of the bundle.
        weights_sha256: Digest of the bundle's weights.
        temperature: What logits are divided by.
        inference: How the network is asked.
        out: Where the map is, for any process.
    """

    cube: Location
    model: Path
    weights_sha256: str
    temperature: float
    inference: Inference
    out: Location


def layer_names(cube: Cube, inference: Inference) -> tuple[str, ...]:
    """Return the layers of a map beside the classes and their confidence."""
    counts = [f"{COUNTS}{sensor.array}" for sensor in cube.spec.sensors]
    probability = [PROBABILITY] if inference.has_probabilities else []
    return SECOND, MARGIN, *counts, *probability


def map_unit(job: Job, unit: TileUnit) -> Evidence:
    """Map one tile: every lattice window that reaches into it, blended.

    One thread and, on a CPU, one window at a time, so that a window's probabilities are the same
    bits wherever it is computed and whatever is computed beside it.
    """
    torch.set_num_threads(1)
    job.inference.check()
    bundle, legend, trained = _model(job.model, job.weights_sha256, job.inference.has_gpu)
    cube, store = Cube.open(job.cube), Store.open(job.out, "map")
    lattice = checked_lattice(bundle.window, bundle.halo)
    network = Network(trained, job.temperature, job.inference)
    found = blended(cube, unit.tile.zone, unit.window, network, lattice, len(legend.classes))
    decided = layers_of(found, legend, has_probabilities=job.inference.has_probabilities)
    layers = {**decided, **_observations(cube, unit)}
    pixels = int(np.count_nonzero(found.is_seen))
    return {
        "empty": pixels == 0,
        "pixels": pixels,
        "checksums": dict(write_layers(store, unit.tile, unit.window, layers)),
    }


def unit_bytes(bundle: Bundle, tile_px: int, inference: Inference) -> int:
    """Return the most bytes that one unit holds: two strips, sums, and the model at a window."""
    network = NetworkSpec.model_validate(bundle.network)
    classes = 0 if bundle.legend is None else len(bundle.legend.classes)
    # No strip is higher than the windows that reach into a tile.
    around = tile_px + 2 * bundle.window
    strip = around * min(around, STRIP_ROWS * bundle.window)
    inputs = COPIES * sum(2 * strip * (10 / band.gsd) ** 2 for band in network.bands)
    model = model_bytes(network, classes, bundle.members, bundle.window)
    # Sums and what is made of them; stored probabilities are scaled and rounded on their way.
    per_class = 10 if inference.has_probabilities else 4
    return int(inputs + (per_class * classes + BYTES_PER_PIXEL) * tile_px**2 + model)


@lru_cache(maxsize=1)
def _model(path: Path, sha256: str, has_gpu: bool) -> tuple[Bundle, Legend, Model]:
    """Load a bundle once per process; the digest is checked against its file."""
    bundle = read_card(path).replace(weights_sha256=sha256)
    legend = Legend.model_validate(bundle.legend)
    spec = NetworkSpec.model_validate(bundle.network)
    network = model_of(spec, len(legend.classes), bundle.members)
    load_weights(network, read_weights(path, bundle), str(path))
    prepare_inference(network, "cuda" if has_gpu else "cpu")
    return bundle, legend, network


def _observations(cube: Cube, unit: TileUnit) -> dict[str, Layer]:
    """Return how many observations of each sensor there are in all periods."""
    counted = {}
    for sensor in cube.spec.sensors:
        path = f"{unit.tile.zone}/r10m/n_valid_{sensor.array}"
        total = np.zeros((unit.window.height, unit.window.width), np.uint32)
        for time in range(len(cube.spec.periods)):
            total += cube.store.read(path, (time,), unit.window)
        counted[f"{COUNTS}{sensor.array}"] = np.minimum(total, MOST_OBSERVATIONS).astype(np.uint8)
    return counted
