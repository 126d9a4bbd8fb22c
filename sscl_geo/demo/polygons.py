"""Training polygons as a photo-interpreter would draw them: few, small and well inside a patch."""

from pathlib import Path
from typing import Final, NamedTuple

import geopandas
import numpy as np
import shapely
from affine import Affine
from jaxtyping import Bool, UInt8
from scipy.ndimage import minimum_filter
from shapely.affinity import affine_transform

from sscl_geo.errors import InvalidInputError

_SMALLEST_PX: Final = 3
_LARGEST_PX: Final = 5
_FRUITLESS: Final = 200


class _Drawn(NamedTuple):
    """One polygon in pixel coordinates and the number of pixels whose centre it holds."""

    land_class: int
    outline: shapely.Polygon
    pixels: int


def write_polygons(  # noqa: PLR0913 - a raster, its place and what is asked of the polygons
    classes: UInt8[np.ndarray, "y x"],
    path: Path,
    *,
    crs: str,
    transform: Affine,
    max_fraction: float,
    seed: int,
    columns: slice,
) -> float:
    """Write a GeoPackage of polygons with an integer column `class`.

    Every polygon is a compact quadrilateral of 3 to 5 pixels a side inside one patch of one class,
    overlaps no other and lies in `columns`. Each class gets a share of the labels that goes with
    the square root of its area.

    Args:
        classes: Land-cover codes, the truth.
        path: The file to write; replaced if it exists.
        crs: Coordinate reference system of `transform`.
        transform: From pixel corners (x, y) to coordinates.
        max_fraction: Largest labelled share of all pixels of the map.
        seed: The same seed draws the same polygons.
        columns: Where to draw.

    Returns:
        Labelled pixels, counted by their centres, over all pixels of the map.

    Raises:
        InvalidInputError: If a class cannot be covered within `max_fraction`.
    """
    drawn = _draw(classes, max_fraction, np.random.default_rng(seed), columns)
    missing = set(np.unique(classes).tolist()) - {one.land_class for one in drawn}
    if missing:
        raise InvalidInputError(
            f"no polygon fits for classes {sorted(missing)}; raise {max_fraction=}."
        )
    outlines = [affine_transform(one.outline, transform.to_shapely()) for one in drawn]
    table = {"class": [one.land_class for one in drawn]}
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame(table, geometry=outlines, crs=crs).to_file(path, driver="GPKG")
    return sum(one.pixels for one in drawn) / classes.size


def _draw(
    classes: UInt8[np.ndarray, "y x"],
    max_fraction: float,
    rng: np.random.Generator,
    columns: slice,
) -> list[_Drawn]:
    """Draw polygons class by class until each has used its share of the labels."""
    free = np.zeros(classes.shape, bool)
    free[:, columns] = True
    codes, areas = np.unique(classes, return_counts=True)
    shares = np.sqrt(areas) / np.sqrt(areas).sum()
    drawn: list[_Drawn] = []
    for code, share in sorted(zip(codes.tolist(), shares, strict=True), key=lambda one: one[1]):
        budget = int(max_fraction * classes.size * share)
        drawn += _draw_class(classes == code, code, free, budget, rng)
    return drawn


def _draw_class(
    patch: Bool[np.ndarray, "y x"],
    code: int,
    free: Bool[np.ndarray, "y x"],
    budget: int,
    rng: np.random.Generator,
) -> list[_Drawn]:
    """Draw polygons of one class with at most `budget` pixels and take their ground from `free`."""
    drawn: list[_Drawn] = []
    fruitless = 0
    corners = np.argwhere(minimum_filter(patch & free, _SMALLEST_PX, origin=-(_SMALLEST_PX // 2)))
    while len(corners) and fruitless < _FRUITLESS and budget >= _SMALLEST_PX**2:
        y, x = corners[rng.integers(len(corners))].tolist()
        height, width = rng.integers(_SMALLEST_PX, _LARGEST_PX + 1, 2).tolist()
        window = slice(y, y + height), slice(x, x + width)
        is_clear = (patch & free)[window].all() and patch[window].shape == (height, width)
        if not is_clear or height * width > budget:
            fruitless += 1
            continue
        drawn.append(_quadrilateral(code, (y, x), (height, width), rng))
        free[window] = False
        budget, fruitless = budget - drawn[-1].pixels, 0
    return drawn


def _quadrilateral(
    code: int, corner: tuple[int, int], shape: tuple[int, int], rng: np.random.Generator
) -> _Drawn:
    """Draw within a window of pixels, with corners that a hand has set."""
    (y, x), (height, width) = corner, shape
    inward = rng.uniform(0, 0.8, (4, 2)) * [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    ends = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    outline = shapely.Polygon(np.array(ends) + inward)
    rows, columns = np.mgrid[y : y + height, x : x + width] + 0.5
    return _Drawn(code, outline, int(shapely.contains_xy(outline, columns, rows).sum()))
