"""One unit of mapping: read a tile with its surroundings, run the model, blend, write."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped, UInt8

from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import Place
from sscl_geo.geo.grid import Tile, Window
from sscl_geo.geo.inputs import BandInput
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.bundle import Bundle, read_card, read_weights
from sscl_geo.io.cubes import Cube
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.location import Location
from sscl_geo.io.store import Store
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.blending import Blend, Blended
from sscl_geo.ops.windows import Lattice, checked_lattice
from sscl_geo.runtime.work import Evidence

ACTIVATION_BYTES = 40
"""Bytes of activations per input pixel and plane of the widest layer, in float32, at inference."""


class MapUnit(Frozen):
    """One tile of a map.

    Attributes:
        tile: The tile.
        window: Its pixels at 10 m.
    """

    tile: Tile
    window: Window

    @property
    def key(self) -> str:
        """The tile's name."""
        return self.tile.key


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        cube: Where the cube is, for any process.
        model: Absolute path of the bundle.
        weights_sha256: Digest of the bundle's weights.
        temperature: What logits are divided by.
        out: Where the map is, for any process.
    """

    cube: Location
    model: Path
    weights_sha256: str
    temperature: float
    out: Location


def map_unit(job: Job, unit: MapUnit) -> Evidence:
    """Map one tile: every lattice window that reaches into it, blended.

    One thread and one window at a time, so that a window's probabilities are the same bits
    wherever it is computed and whatever is computed beside it.
    """
    torch.set_num_threads(1)
    bundle, legend, segmenter = _model(job.model, job.weights_sha256)
    cube, store = Cube.open(job.cube), Store.open(job.out, "map")
    lattice = checked_lattice(bundle.window, bundle.halo)
    network = _Network(segmenter, job.temperature)
    blended = _blended(cube, unit, network, lattice, len(legend.classes))
    landcover, confidence = _coded(blended, legend)
    zone = unit.tile.zone
    pixels = int(np.count_nonzero(landcover))
    return {
        "empty": pixels == 0,
        "pixels": pixels,
        "checksums": {
            "landcover": store.write(f"{zone}/landcover", (), unit.window, landcover),
            "confidence": store.write(f"{zone}/confidence", (), unit.window, confidence),
        },
    }


def unit_bytes(bundle: Bundle, tile_px: int) -> int:
    """Return the most bytes that one unit holds: inputs, sums and one window's activations."""
    network = NetworkSpec.model_validate(bundle.network)
    classes = 0 if bundle.legend is None else len(bundle.legend.classes)
    side = tile_px + 2 * bundle.window
    inputs = sum(2 * side**2 * (10 / band.gsd) ** 2 for band in network.bands)
    planes = len(network.bands) * network.features.width
    return int(inputs + 4 * classes * tile_px**2 + ACTIVATION_BYTES * planes * bundle.window**2)


@lru_cache(maxsize=1)
def _model(path: Path, sha256: str) -> tuple[Bundle, Legend, Segmenter]:
    """Load a bundle once per process; the digest is checked against its file."""
    bundle = read_card(path).replace(weights_sha256=sha256)
    legend = Legend.model_validate(bundle.legend)
    segmenter = Segmenter(NetworkSpec.model_validate(bundle.network), len(legend.classes))
    load_weights(segmenter, read_weights(path, bundle), str(path))
    return bundle, legend, segmenter.eval()


class _Network(NamedTuple):
    segmenter: Segmenter
    temperature: float


def _blended(
    cube: Cube, unit: MapUnit, network: _Network, lattice: Lattice, classes: int
) -> Blended:
    grid = cube.spec.grid(unit.tile.zone)
    windows = lattice.covering(unit.window, grid.lattice_origin)
    around = _bounding(windows)
    spec = network.segmenter.encoder.spec
    places = cube.wanted([band.name for band in spec.bands], may_lack=spec.has_masks)
    periods = 1 + max(Place.of(band.array).later for band in spec.bands)
    present = {source.name for source in cube.bands(periods)}
    blend = Blend(unit.window, classes, lattice)
    for time in cube.samples(places):
        found = cube.read(unit.tile.zone, time, places, around)
        stored = {
            name: _whole(found.get(name), bands, present, around)
            for name, bands in spec.arrays.items()
        }
        for window in windows:
            part = _inner(stored, spec, window, around)
            bands = _normalised(network.segmenter, part)
            is_seen = bands.is_valid[0].any(0).numpy()
            if is_seen.any():
                blend.add(window, _probabilities(network, bands), is_seen)
    return blend.result()


def _whole(
    found: Shaped[np.ndarray, "_ _ _"] | None,
    bands: tuple[BandInput, ...],
    present: set[str],
    around: Window,
) -> Shaped[np.ndarray, "_ _ _"]:
    """Return an array with all of a network's bands; those that the cube lacks have no data."""
    if found is not None and len(found) == len(bands):
        return found
    dtype = np.int32 if found is None else found.dtype
    whole = np.full((len(bands), *around.at(bands[0].gsd)[2:]), bands[0].nodata, dtype)
    if found is not None:
        whole[[band.name in present for band in bands]] = found
    return whole


def _bounding(windows: tuple[Window, ...]) -> Window:
    first, last = windows[0], windows[-1]
    height, width = last.y + last.height - first.y, last.x + last.width - first.x
    return Window(first.y, first.x, height, width)


def _inner(
    stored: dict[str, Shaped[np.ndarray, "_ _ _"]],
    spec: NetworkSpec,
    window: Window,
    around: Window,
) -> dict[str, Shaped[np.ndarray, "_ _ _"]]:
    inner = window._replace(y=window.y - around.y, x=window.x - around.x)
    gsd = {name: bands[0].gsd for name, bands in spec.arrays.items()}
    return {name: data[:, *inner.at(gsd[name]).slices] for name, data in stored.items()}


@torch.inference_mode()
def _normalised(segmenter: Segmenter, stored: dict[str, Shaped[np.ndarray, "_ _ _"]]) -> Normalised:
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(data))[None] for name, data in stored.items()
    }
    bands: Normalised = segmenter.encoder.normalise(tensors)
    return bands


@torch.inference_mode()
def _probabilities(network: _Network, bands: Normalised) -> Float32[np.ndarray, "class y x"]:
    logits = network.segmenter(bands.values, bands.is_absent).float()
    probabilities: np.ndarray = torch.softmax(logits / network.temperature, 1)[0].numpy()
    return probabilities


def _coded(
    blended: Blended, legend: Legend
) -> tuple[UInt8[np.ndarray, "y x"], UInt8[np.ndarray, "y x"]]:
    values = np.array(legend.values, np.uint8)[blended.position]
    levels = np.rint(blended.probability * FULL_CONFIDENCE).astype(np.uint8)
    is_seen: Bool[np.ndarray, "y x"] = blended.is_seen
    landcover = np.where(is_seen, values, np.uint8(UNLABELLED))
    return landcover, np.where(is_seen, levels, np.uint8(NO_CONFIDENCE))
