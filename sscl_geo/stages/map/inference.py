"""From a cube around a tile to the tile's blended probabilities."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import Place
from sscl_geo.geo.grid import Window
from sscl_geo.geo.inputs import BandInput
from sscl_geo.io.cubes import Cube, Places
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Model
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.blending import Blend, Blended
from sscl_geo.ops.windows import Lattice
from sscl_geo.runtime.work import Machines

STRIP_ROWS = 4
"""Rows of windows that are read at once; the next ones are read while the network works."""

GPU_BATCH = 16
"""Windows at a time on a GPU. On a CPU it is one: more is not faster, and other batches could
give other bits."""

FLIPS = ((), (3,), (2,), (2, 3))
"""Axes along which a window is mirrored when it is seen from all sides."""

DASK, RAY = "dask", "ray_tasks"
"""Executors that hand out GPUs."""

Stored = dict[str, Shaped[np.ndarray, "_ _ _"]]


class Inference(Frozen):
    """How a network is asked; each of these changes the map.

    Attributes:
        has_flips: Whether the mean is taken over a window and its three mirror images.
        has_gpu: Whether it runs on a GPU, in bfloat16.
        has_probabilities: Whether the map keeps the probability of every class.
    """

    has_flips: bool = False
    has_gpu: bool = False
    has_probabilities: bool = False

    @property
    def batch(self) -> int:
        """Windows at a time."""
        return GPU_BATCH if self.has_gpu else 1

    def check(self) -> None:
        """Check that this machine has the GPU that is asked for.

        Raises:
            InvalidInputError: There is none.
        """
        if self.has_gpu and not torch.cuda.is_available():
            raise InvalidInputError("--gpu: torch finds no GPU on this machine; leave --gpu out")

    def check_machines(self, machines: Machines) -> None:
        """Check that this machine has a GPU for each of its workers, if they are to have one.

        What workers elsewhere have shows there, and Ray counts its own.

        Raises:
            InvalidInputError: It has none, or more workers than GPUs.
        """
        if not self.has_gpu or machines.address is not None or machines.executor == RAY:
            return
        self.check()
        found = torch.cuda.device_count()
        if machines.executor == DASK and machines.workers > found:
            raise InvalidInputError(
                f"--gpu: each worker needs a GPU of its own, and this machine has {found}; "
                f"give --workers {found}"
            )


class Network(NamedTuple):
    """A network ready to map, with what its logits are divided by, and how it is asked."""

    model: Model
    temperature: float
    inference: Inference

    def probabilities(self, windows: Sequence[Stored]) -> "Seen":
        """Return what the network says of windows of stored numbers, no more than a batch."""
        return self.asked(windows, self.inference.batch)

    @torch.inference_mode()
    def asked(self, windows: Sequence[Stored], batch: int) -> "Seen":
        """Return what the network says in one batch of a fixed size, filled up with windows.

        A batch that a GPU has no memory for is halved once.

        Raises:
            torch.OutOfMemoryError: Half a batch is still too large.
        """
        filled = [*windows, *[windows[-1]] * (batch - len(windows))]
        found = self._batch_or_none(filled)
        if found is None:
            half = len(filled) // 2
            parts = [self._batch(filled[:half]), self._batch(filled[half:])]
            found = Seen(*(np.concatenate(both) for both in zip(*parts, strict=True)))
        return Seen(found.shares[: len(windows)], found.is_seen[: len(windows)])

    def _batch_or_none(self, windows: Sequence[Stored]) -> "Seen | None":
        """Return what the network says, or None if memory does not hold two windows or more.

        Only when this has returned the memory is free again: an error that is being handled holds
        whatever the failed pass held.
        """
        try:
            return self._batch(windows)
        except torch.OutOfMemoryError:
            if len(windows) < 2:  # noqa: PLR2004 - one cannot be halved
                raise
            return None

    def _batch(self, windows: Sequence[Stored]) -> "Seen":
        device = torch.device("cuda" if self.inference.has_gpu else "cpu")
        stored = {
            name: torch.from_numpy(np.stack([window[name] for window in windows])).to(device)
            for name in windows[0]
        }
        bands: Normalised = self.model.encoder.normalise(stored)
        sides = FLIPS if self.inference.has_flips else FLIPS[:1]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.inference.has_gpu):
            told = [self._softmax(bands, axes) for axes in sides]
        shares = torch.stack(told).mean(0) if len(told) > 1 else told[0]
        return Seen(shares.cpu().numpy(), bands.is_valid.any(1).cpu().numpy())

    def _softmax(self, bands: Normalised, axes: tuple[int, ...]) -> torch.Tensor:
        values = bands.values.flip(axes) if axes else bands.values
        logits: torch.Tensor = self.model(values, bands.is_absent).float()
        shares = torch.softmax(logits / self.temperature, 1)
        return shares.flip(axes) if axes else shares


class Seen(NamedTuple):
    """Probabilities of windows, and which of their pixels any band shows."""

    shares: Float32[np.ndarray, "window class y x"]
    is_seen: Bool[np.ndarray, "window y x"]


class _Strip(NamedTuple):
    """Rows of windows and the pixels around them."""

    time: int
    windows: tuple[Window, ...]
    around: Window


def blended(
    cube: Cube, zone: str, tile: Window, network: Network, lattice: Lattice, classes: int
) -> Blended:
    """Return what all lattice windows that reach into a tile say together, over all samples.

    Windows come in the lattice's order, so that a pixel's sum does not depend on its tile.

    Raises:
        InvalidInputError: A probability is not a number: the network's weights are broken.
    """
    spec = network.model.encoder.spec
    places = cube.wanted([band.name for band in spec.bands], may_lack=spec.has_masks)
    windows = lattice.covering(tile, cube.spec.grid(zone).lattice_origin)
    blend = Blend(tile, classes, lattice)
    for strip, stored in _read_ahead(cube, zone, places, spec, _strips(cube, places, windows)):
        whole = [_inner(stored, spec, window, strip.around) for window in strip.windows]
        wanted = [n for n, part in enumerate(whole) if _has_data(part, spec)]
        for first in range(0, len(wanted), network.inference.batch):
            batch = wanted[first : first + network.inference.batch]
            seen = network.probabilities([whole[number] for number in batch])
            if not np.isfinite(seen.shares).all():
                raise InvalidInputError(
                    "the network answers with numbers that are not finite; train it again"
                )
            for number, shares, is_seen in zip(batch, *seen, strict=True):
                blend.add(strip.windows[number], shares, is_seen)
    return blend.result()


def _strips(cube: Cube, places: Places, windows: Sequence[Window]) -> Iterator[_Strip]:
    tops = sorted({window.y for window in windows})
    for time in cube.samples(places):
        for first in range(0, len(tops), STRIP_ROWS):
            rows = tops[first : first + STRIP_ROWS]
            mine = tuple(window for window in windows if window.y in rows)
            yield _Strip(time, mine, reduce(Window.union, mine))


def _read_ahead(
    cube: Cube, zone: str, places: Places, spec: NetworkSpec, strips: Iterator[_Strip]
) -> Iterator[tuple[_Strip, Stored]]:
    """Yield strips with their stored numbers, reading one while the one before is used."""
    periods = 1 + max(Place.of(band.array).later for band in spec.bands)
    present = {source.name for source in cube.bands(periods)}

    def read(strip: _Strip) -> Stored:
        found = cube.read(zone, strip.time, places, strip.around)
        return {
            name: _whole(found.get(name), bands, present, strip.around)
            for name, bands in spec.arrays.items()
        }

    with ThreadPoolExecutor(1) as reader:
        coming = [(strip, reader.submit(read, strip)) for strip in _first(strips)]
        while coming:
            strip, promised = coming.pop()
            stored = promised.result()
            coming = [(one, reader.submit(read, one)) for one in _first(strips)]
            yield strip, stored


def _first(strips: Iterator[_Strip]) -> list[_Strip]:
    """Return the next strip, if there is one."""
    return [strip for strip in [next(strips, None)] if strip is not None]


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


def _has_data(stored: Stored, spec: NetworkSpec) -> bool:
    return any((stored[name] != bands[0].nodata).any() for name, bands in spec.arrays.items())


def _inner(stored: Stored, spec: NetworkSpec, window: Window, around: Window) -> Stored:
    inner = window.within(around)
    gsd = {name: bands[0].gsd for name, bands in spec.arrays.items()}
    return {name: data[:, *inner.at(gsd[name]).slices] for name, data in stored.items()}
