"""Where things lie: rivers, lakes, wetlands, towns, forests, heaths and parcelled fields."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from scipy.ndimage import distance_transform_edt, label

from sscl_geo.demo.plots import Plots, make_cells, make_plots
from sscl_geo.demo.randomfield import matern
from sscl_geo.demo.signatures import COVERS

CLASS_OF: Final = np.array([cover.land_class for cover in COVERS.values()], np.uint8)
"""DFC2020 code of every kind of land."""

_CODE: Final = {name: code for code, name in enumerate(COVERS)}
_UNASSIGNED: Final = 255
_STREET_PX: Final = 1.1


class Terrain(NamedTuple):
    """The lie of the land on a 10 m grid.

    Attributes:
        covers: Position of the kind of land in `signatures.COVERS`.
        patches: Which field, stand or plot a pixel belongs to; neighbours have different numbers.
    """

    covers: UInt8[np.ndarray, "y x"]
    patches: Int32[np.ndarray, "y x"]


def make_terrain(rng: np.random.Generator, size_px: int) -> Terrain:
    """Lay out a square piece of land; ten pixels are about 100 m of a Central European valley."""
    plots, stands = make_plots(rng, size_px), make_cells(rng, size_px, 22)
    covers = np.full((size_px, size_px), _UNASSIGNED, np.uint8)
    relief = matern(rng, size_px, 30, 1.5)
    _place_water(rng, covers, relief)
    _place_wetlands(rng, covers)
    _place_towns(rng, covers, plots)
    _place_forest(rng, covers, relief, stands)
    _place_barren(rng, covers)
    _place_heath(rng, covers, relief)
    is_field = covers == _UNASSIGNED
    _place_fields(rng, covers, plots)
    _absorb_specks(covers)
    patches = np.where(is_field, plots.parcel, plots.parcel.max() + 1 + stands)
    return Terrain(covers, patches.astype(np.int32))


def _codes(names: list[str]) -> UInt8[np.ndarray, "..."]:
    """Look up the codes of kinds of land."""
    return np.array([_CODE[name] for name in names], np.uint8)


def _highest(
    score: Float32[np.ndarray, "y x"], free: Bool[np.ndarray, "y x"], share: float
) -> Bool[np.ndarray, "y x"]:
    """Mark the free pixels of highest score, as many as are `share` of all pixels."""
    wanted = min(1.0, share * score.size / max(1, int(free.sum())))
    marked: Bool[np.ndarray, "y x"] = free & (score > np.quantile(score[free], 1 - wanted))
    return marked


def _place_water(
    rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"], relief: Float32[np.ndarray, "y x"]
) -> None:
    """Let rivers meander from west to east about every 4 km, and lakes fill the hollows."""
    size_px = len(covers)
    y = np.arange(size_px, dtype=np.float32)[:, None]
    bend = 26 * matern(rng, size_px, 30, 3) + 12 * relief
    for course in (np.arange(max(1, size_px // 400)) + 0.5) * size_px / max(1, size_px // 400):
        height = y - course + bend
        down, right = np.gradient(height)
        slope = np.maximum(np.hypot(down, right), 0.4)
        width_px = 5 + matern(rng, size_px, 60, 2)
        covers[_largest(np.abs(height) / slope < width_px)] = _CODE["river"]
    covers[_highest(-relief, relief < 0, 0.038)] = _CODE["lake"]


def _place_wetlands(rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"]) -> None:
    """Line the waters with marsh and scatter a few mires."""
    shore_px = distance_transform_edt(covers == _UNASSIGNED).astype(np.float32)
    wetness = matern(rng, len(covers), 24, 2) - np.minimum(shore_px, 40) / 9
    marsh = _highest(wetness, covers == _UNASSIGNED, 0.075)
    kind = matern(rng, len(covers), 12, 1.5) - 0.05 * shore_px
    names = ["wet meadow", "reed", "open fen"]
    covers[marsh] = _codes(names)[np.digitize(kind, [-0.6, 0.7])][marsh]


def _place_towns(rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"], plots: Plots) -> None:
    """Build towns of roofs, streets, gardens and trees on one street grid per block."""
    score = _settlement(rng, len(covers))
    town = _highest(score, covers == _UNASSIGNED, 0.09)
    kinds = ["tile roof", "garden", "town trees", "light roof", "street"]
    draw = rng.choice(_codes(kinds), covers.shape, p=[0.36, 0.28, 0.14, 0.12, 0.1])
    is_street = (plots.along % 9 < _STREET_PX) | (plots.across % 13 < _STREET_PX)
    covers[town] = np.where(is_street, _CODE["street"], draw)[town]


def _settlement(rng: np.random.Generator, size_px: int) -> Float32[np.ndarray, "y x"]:
    """Score how likely a place is built on: one centre about every 1.5 km, of varied weight."""
    nodes = np.arange(75, size_px + 75, 150)
    lattice = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    centres = lattice + rng.uniform(-50, 50, lattice.shape)
    reach_px = rng.uniform(14, 34, len(centres))
    y, x = np.indices((size_px, size_px), dtype=np.float32)
    score = 0.3 * matern(rng, size_px, 16, 1.3)
    nearness = [
        np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r**2))
        for (cy, cx), r in zip(centres, reach_px, strict=True)
    ]
    total: Float32[np.ndarray, "y x"] = score + 1.6 * np.max(nearness, axis=0).astype(np.float32)
    return total


def _place_forest(
    rng: np.random.Generator,
    covers: UInt8[np.ndarray, "y x"],
    relief: Float32[np.ndarray, "y x"],
    stands: Int32[np.ndarray, "y x"],
) -> None:
    """Cover slopes with ragged woods made of broadleaf, conifer and young stands."""
    size_px = len(covers)
    wood = _highest(matern(rng, size_px, 40, 1.8) + 0.4 * relief, covers == _UNASSIGNED, 0.22)
    lean = rng.standard_normal(int(stands.max()) + 1)[stands] + matern(rng, size_px, 10, 1)
    names = ["broadleaf", "conifer", "young forest"]
    covers[wood] = _codes(names)[np.digitize(lean, [0.1, 1.8])][wood]


def _place_barren(rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"]) -> None:
    """Open quarries, gravel pits and spoil heaps."""
    size_px = len(covers)
    bare = _highest(matern(rng, size_px, 22, 2.5), covers == _UNASSIGNED, 0.055)
    kind = np.digitize(matern(rng, size_px, 12, 1), [-0.4, 0.4])
    names = ["gravel", "quarry", "sparse"]
    covers[bare] = _codes(names)[kind][bare]


def _place_heath(
    rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"], relief: Float32[np.ndarray, "y x"]
) -> None:
    """Leave the poorest land to a mosaic of shrub and rough grass."""
    size_px = len(covers)
    rough = _highest(matern(rng, size_px, 40, 2) + 0.3 * relief, covers == _UNASSIGNED, 0.18)
    kind = np.digitize(matern(rng, size_px, 26, 2), [-0.8, 0.0, 0.5])
    names = ["meadow", "dry grass", "heath", "thicket"]
    covers[rough] = _codes(names)[kind][rough]


def _place_fields(rng: np.random.Generator, covers: UInt8[np.ndarray, "y x"], plots: Plots) -> None:
    """Give every parcel that is left one crop or keep it as grass; farms differ in their herds."""
    count = int(plots.parcel.max()) + 1
    crops = ["cereal", "rapeseed", "maize", "ley", "roots"]
    crop = rng.choice(_codes(crops), count, p=[0.35, 0.15, 0.34, 0.03, 0.13])
    grass = rng.choice(_codes(["meadow", "dry grass"]), count, p=[0.75, 0.25])
    herd = rng.beta(0.15, 0.45, int(plots.block.max()) + 1)[plots.block]
    is_grass = rng.random(count)[plots.parcel] < herd
    free = covers == _UNASSIGNED
    covers[free] = np.where(is_grass, grass[plots.parcel], crop[plots.parcel])[free]


def _largest(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Keep the largest connected part."""
    parts, _ = label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: Bool[np.ndarray, "y x"] = parts == sizes.argmax()
    return kept


def _absorb_specks(covers: UInt8[np.ndarray, "y x"], least_px: int = 40) -> None:
    """Give connected parts of a class below `least_px` to their nearest neighbour."""
    is_speck = np.zeros(covers.shape, bool)
    for land_class in np.unique(CLASS_OF):
        parts, _ = label(CLASS_OF[covers] == land_class)
        is_speck |= (parts > 0) & (np.bincount(parts.ravel())[parts] < least_px)
    nearest = distance_transform_edt(is_speck, return_distances=False, return_indices=True)
    covers[:] = covers[tuple(nearest)]
