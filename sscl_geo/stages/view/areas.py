"""Hectares of a map's classes in a part of it, fast enough to follow a view that moves."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.graticule import Graticule
from sscl_geo.geo.grid import GSD, Grid, Window
from sscl_geo.geo.ground import DEGREES, block_bbox, inside_bbox, transformer
from sscl_geo.geo.surface import band_hectares
from sscl_geo.io.areas import VALUES, own_hectares
from sscl_geo.io.views import View, extent

EXACT_PX = 2**20
"""Up to so many pixels are counted one by one."""

READ_PX = 2**22
"""Of more, the finest level is read that has about as many, and sampled."""

FARTHEST = 3
"""Pixels along a side that are read where one would do, if there is no coarser level."""

SAMPLES = 640
"""Along each side of the part; of a class that has a hundredth of it, some 4000 are met."""

POINTS = 21
"""Places along each side of a box that are carried to a grid's CRS."""


class Hectares(NamedTuple):
    """What was found.

    Attributes:
        values: The area of each class value, in hectares on the ground.
        gsd: Metres of the pixels that were looked at.
        is_exact: Whether each pixel was counted.
    """

    values: Float64[np.ndarray, " value"]
    gsd: int
    is_exact: bool


def hectares_in(view: View, box: BBox) -> Hectares:
    """Return the hectares of each class in a box, by pixel centres.

    A large box is sampled, at places that are regular in longitude and latitude.

    Raises:
        InvalidInputError: It is so large that the map would need coarser levels.
    """
    parts = list(_parts(view, box))
    pixels = sum(part.window.height * part.window.width for part in parts)
    if pixels <= EXACT_PX:
        return Hectares(_counted(view, parts), GSD, is_exact=True)
    gsd = GSD * float(np.sqrt(pixels / READ_PX))
    read = max(view.level(part.grid.zone, gsd) for part in parts)
    if gsd > FARTHEST * read:
        raise InvalidInputError("areas of so much ground need coarser levels; zoom in")
    common = _common(box, extent(view.grids))
    values = sum((_sampled(view, part, gsd) for part in common), np.zeros(VALUES))
    return Hectares(values, read, is_exact=False)


class _Part(NamedTuple):
    """Pixels of a grid around a part of a box, on one side of the antimeridian."""

    grid: Grid
    window: Window
    box: BBox


def _parts(view: View, box: BBox) -> Iterator[_Part]:
    for grid in view.grids:
        for part in _common(box, block_bbox(grid.block(Window(0, 0, *grid.shape)))):
            window = _window(grid, part)
            if window.height > 0 and window.width > 0:
                yield _Part(grid, window, part)


def _common(box: BBox, ground: BBox) -> list[BBox]:
    """Return the parts that two boxes share, none of which crosses the antimeridian."""
    pairs = [(one, other) for one in box.split() for other in ground.split()]
    shared = [
        BBox(
            max(one.west, other.west),
            max(one.south, other.south),
            min(one.east, other.east),
            min(one.north, other.north),
        )
        for one, other in pairs
    ]
    return [one for one in shared if one.west < one.east and one.south < one.north]


def _window(grid: Grid, box: BBox) -> Window:
    """Return the pixels of a grid around a box, cut off at the grid's edges."""
    longitudes = np.linspace(box.west, box.east, POINTS)
    places = np.meshgrid(longitudes, np.linspace(box.south, box.north, POINTS))
    x, y = transformer(DEGREES, grid.crs).transform(*places)
    top, bottom = (int((grid.origin[1] - value) // GSD) for value in (y.max(), y.min()))
    left, right = (int((value - grid.origin[0]) // GSD) for value in (x.min(), x.max()))
    # A box's edges bend by less than a pixel between the places.
    top, left = max(top - 1, 0), max(left - 1, 0)
    return Window(
        top, left, min(bottom + 2, grid.shape[0]) - top, min(right + 2, grid.shape[1]) - left
    )


def _counted(view: View, parts: list[_Part]) -> Float64[np.ndarray, " value"]:
    total = np.zeros(VALUES)
    for grid, window, box in parts:
        is_inside = inside_bbox(grid.block(window), box)
        hectares = np.where(is_inside, own_hectares(grid, window), 0.0)
        values = view.read(grid.zone, GSD, window)
        total += np.bincount(values.ravel(), hectares.ravel(), VALUES)
    return total


def _sampled(view: View, box: BBox, gsd: float) -> Float64[np.ndarray, " value"]:
    width = box.east - box.west
    middles = (np.arange(SAMPLES) + 0.5) / SAMPLES
    edges = np.linspace(box.north, box.south, SAMPLES + 1)
    places = Graticule(box.west + width * middles, (edges[:-1] + edges[1:]) / 2)
    each = band_hectares(edges, width / SAMPLES)
    values = view.under(places, gsd)
    return np.bincount(values.ravel(), np.repeat(each, SAMPLES), VALUES)
