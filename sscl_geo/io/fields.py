"""Cubes and chips decoded into memory-mapped arrays, so that epochs read no codec."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import digest
from sscl_geo.geo.cube import BandSource, Place
from sscl_geo.geo.grid import GSD, Grid, Window
from sscl_geo.geo.inputs import BandInput
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.cubes import Classes, Cube, Places
from sscl_geo.io.disk import Disk
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.plan import read_plan
from sscl_geo.ops.observation import is_observed
from sscl_geo.sensors import nodata_of

_log = logging.getLogger(__name__)

ROWS = 2048
"""Rows and columns at 10 m that are decoded at a time."""

Imagery = Cube | Chips
"""What a network learns from."""


class Decoded(NamedTuple):
    """A contiguous area at one sample of periods.

    Attributes:
        zone: Zone of a cube, or number of a chip.
        time: First period of the sample.
        arrays: Read-only maps of files by place.
    """

    zone: str
    time: int
    arrays: dict[str, Shaped[np.ndarray, "_ _ _"]]


def opened(selection: Selection) -> Imagery:
    """Open a cube, or chips.

    Raises:
        InvalidInputError: There is neither at the path.
    """
    plan = read_plan(selection.path)
    if plan is not None and plan.kind == "chips":
        return Chips.open(selection.path, selection.samples, selection.among)
    return Cube.of_composites(selection.path)


def selected(path: str, part: str | None = None, option: str = "--part") -> Selection:
    """Return a cube, or the chips of one part of their set, which an option names.

    Raises:
        InvalidInputError: There is neither, or no chip of that part.
    """
    if part is None:
        return Selection(path=location(path))
    chips = Chips.open(location(path))
    mine = tuple(n for n, chip in zip(chips.samples, chips.chips, strict=True) if chip.part == part)
    if not mine:
        known = ", ".join(sorted({chip.part for chip in chips.chips}))
        raise InvalidInputError(f"{option} {part!r}: {path} has {known}")
    return Selection(path=chips.path, samples=mine)


def absolute(selection: Selection) -> Selection:
    """Return a selection that any process finds."""
    return selection.replace(path=selection.path.resolve())


def identities(imageries: Sequence[Imagery]) -> list[JsonValue]:
    """Return what is learned from, as values that differ where the content differs."""
    return [
        {"chips": one.store.plan.digest, "samples": [*one.samples]}
        if isinstance(one, Chips)
        else one.store.plan.digest
        for one in imageries
    ]


def gsd(imagery: Imagery, band: BandSource) -> int:
    """Return the ground sampling distance in metres at which a band is stored."""
    return imagery.spec.gsd if isinstance(imagery, Chips) else band.place.gsd


def check_stored_alike(imagery: Imagery, bands: Sequence[BandInput]) -> None:
    """Check that bands are stored as those that a network learned from.

    Raises:
        InvalidInputError: A band of the same name lies in another array or at another resolution,
            as those of chips and of cubes do.
    """
    periods = 1 + max(Place.of(band.array).later for band in bands)
    mine = {source.name: source for source in imagery.bands(periods)}
    for band in bands:
        source = mine.get(band.name)
        if source is None:
            continue
        found = (source.place.key, gsd(imagery, source))
        if found != (band.array, band.gsd):
            raise InvalidInputError(
                f"{imagery.path}: {band.name} is stored as {found[0]} at {found[1]} m, and the "
                f"model learned it as {band.array} at {band.gsd} m; chips and cubes do not mix"
            )


def mapped_gsd(imagery: Imagery) -> int:
    """Return the ground sampling distance in metres of the pixels that are mapped."""
    return imagery.spec.gsd if isinstance(imagery, Chips) else GSD


def warn_of_small(imageries: Sequence[Imagery], patch: int) -> None:
    """Say which areas no patch of so many pixels fits into: nothing is learned from them."""
    for one in imageries:
        shapes = (
            {"chips": (one.spec.side, one.spec.side)}
            if isinstance(one, Chips)
            else {f"zone {grid.zone}": grid.shape for grid in one.spec.grids}
        )
        small = [name for name, shape in shapes.items() if min(shape) < patch]
        if small:
            _log.warning(
                "%s: %s smaller than a patch of %d px teach nothing; take a smaller patch",
                *(one.path, ", ".join(small), patch),
            )


def decoded(imagery: Imagery, places: Places, cache: Path) -> Iterator[Decoded]:
    """Yield every area and sample of periods, decoded once into files of a folder.

    Args:
        imagery: A cube or chips.
        places: The bands, as its `wanted` returns them.
        cache: Folder of the files; several processes may share it.
    """
    folder = cache / imagery.store.plan.digest[:16]
    if isinstance(imagery, Chips):
        yield from _decoded_chips(imagery, places, folder)
        return
    for grid in imagery.spec.grids:
        for time in imagery.samples(places):
            arrays = {
                key: _mapped(imagery, grid, time, {key: indices}, folder / grid.zone / str(time))
                for key, indices in places.items()
            }
            yield Decoded(grid.zone, time, arrays)


def unlabelled(
    selections: Sequence[Selection], names: Sequence[str], cache: Path
) -> Iterator[Decoded]:
    """Yield every area of imagery of which no labels are looked at; as `decoded` does."""
    for selection in selections:
        imagery = opened(selection)
        yield from decoded(imagery, imagery.wanted(names), cache)


def labelled(
    imageries: Sequence[Imagery],
    labels: Sequence[AnyLocation],
    names: Sequence[str],
    cache: Path,
    legend: Legend,
) -> Iterator[tuple[Decoded, UInt8[np.ndarray, "y x"]]]:
    """Yield every area of imagery with the positions of its classes in a legend, else 255.

    Ground that none of the bands saw is unlabelled: a map leaves it out, and nothing can be learned
    from it. Those of a cube are a map of a file, as they may be those of a country.

    Args:
        imageries: Cubes, or chips, which bring their labels.
        labels: Labels on the pixels of each cube, in the same order.
        names: The bands.
        cache: Folder of decoded arrays.
        legend: The legend.

    Raises:
        InvalidInputError: Cubes and labels do not pair, lie on different grids, chips have none, or
            a value is not of the labels' legend.
    """
    stores = iter([Classes.open(path, "labels") for path in labels])
    periods = 1 + max(Place.of(name).later for name in names)
    for imagery in imageries:
        nodata = nodata_of(imagery.bands(periods))
        pieces = decoded(imagery, imagery.wanted(names), cache)
        if isinstance(imagery, Chips):
            for piece, values in zip(pieces, imagery.labels(), strict=True):
                yield piece, _seen(piece.arrays, values, nodata, legend)
            continue
        store = next(stores, None)
        if store is None:
            message = f"{imagery.path}: a cube needs labels; give them with --labels"
            raise InvalidInputError(message)
        store.check_grids(imagery.spec.grids, imagery.path)
        told = digest([store.store.plan.digest, legend.digest, *names])[:16]
        for piece in pieces:
            folder = cache / imagery.store.plan.digest[:16] / piece.zone / str(piece.time)
            yield (
                piece,
                _mapped_classes(piece, store, nodata, legend, folder / f"labels-{told}.npy"),
            )


def _mapped_classes(
    piece: Decoded, store: Classes, nodata: Mapping[str, int], legend: Legend, path: Path
) -> UInt8[np.ndarray, "y x"]:
    """Return the positions of classes of an area of a cube, made once."""
    shape = store.grid(piece.zone).shape

    def fill(out: np.ndarray) -> None:
        for window in Window(0, 0, *shape).blocks(ROWS, ROWS):
            values = store.read(piece.zone, window)
            store.legend.check(values, store.path)
            arrays = {
                key: array[:, *window.at(Place.of(key).gsd).slices]
                for key, array in piece.arrays.items()
            }
            out[window.slices] = _seen(arrays, values, nodata, legend)

    return _cached(path, np.dtype(np.uint8), shape, fill)


def _seen(
    arrays: Mapping[str, Shaped[np.ndarray, "_ _ _"]],
    values: UInt8[np.ndarray, "y x"],
    nodata: Mapping[str, int],
    legend: Legend,
) -> UInt8[np.ndarray, "y x"]:
    """Return the positions of classes where a band saw something."""
    is_seen = is_observed(arrays, nodata, values.shape)
    return legend.indices(np.where(is_seen, values, np.uint8(UNLABELLED)))


def _decoded_chips(chips: Chips, places: Places, folder: Path) -> Iterator[Decoded]:
    arrays = {key: _mapped_chips(chips, key, indices, folder) for key, indices in places.items()}
    rows = {number: row for row, number in enumerate(chips.among)}
    for number in chips.samples:
        yield Decoded(str(number), 0, {key: one[rows[number]] for key, one in arrays.items()})


def _mapped_chips(
    chips: Chips, key: str, indices: list[int], folder: Path
) -> Shaped[np.ndarray, "sample band y x"]:
    """Return some bands of an array of the chips that are decoded, once."""
    stored, samples = chips.store.array(key), np.array(chips.among)
    step = (stored.shards or stored.chunks)[0]

    def fill(out: np.ndarray) -> None:
        for number in np.unique(samples // step).tolist():
            (rows,) = np.nonzero(samples // step == number)
            together = np.asarray(stored[number * step : (number + 1) * step])
            out[rows] = together[samples[rows] - number * step][:, indices]

    shape = (len(samples), len(indices), *stored.shape[2:])
    path = _cache_file(folder / digest([*chips.among])[:16], key, indices)
    return _cached(path, stored.dtype, shape, fill)


def _mapped(
    cube: Cube, grid: Grid, time: int, place: Places, folder: Path
) -> Shaped[np.ndarray, "band y x"]:
    """Return some bands of an array of a cube at one time, decoded once."""
    key, indices = next(iter(place.items()))
    stored = cube.store.array(f"{grid.zone}/{Place.of(key).array}")

    def fill(out: np.ndarray) -> None:
        for window in Window(0, 0, *grid.shape).blocks(ROWS, ROWS):
            part = window.at(Place.of(key).gsd).slices
            out[:, *part] = cube.read(grid.zone, time, place, window)[key]

    shape = (len(indices), *stored.shape[-2:])
    return _cached(_cache_file(folder, key, indices), stored.dtype, shape, fill)


def _cache_file(folder: Path, key: str, indices: list[int]) -> Path:
    return folder / f"{key.replace('/', '-')}-{'-'.join(map(str, indices))}.npy"


def _cached(
    path: Path, dtype: np.dtype, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]
) -> Shaped[np.ndarray, "..."]:
    """Return a file's array, which is filled if there is none; if that fails, nothing is left.

    Each process fills a file of its own and the last one stays; all hold the same bytes.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with Disk().new_file(str(path)) as pending:
            out = np.lib.format.open_memmap(pending, mode="w+", dtype=dtype, shape=shape)
            fill(out)
            out.flush()
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped
