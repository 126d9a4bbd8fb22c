"""Named polygons of a vector file, and the pixels whose centres they hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
import rasterio.features
import shapely
from jaxtyping import Bool, Float64
from pyproj import CRS
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Block, Grid, Window
from sscl_geo.geo.ground import DEGREES, transformer
from sscl_geo.geo.surface import EARTH, SQUARE_METRES
from sscl_geo.io.vectors import edge_of, read_vector

_MARGIN = 0.05


class Hold(NamedTuple):
    """The pixels of a window whose centres lie in one of the polygons.

    Attributes:
        zone: Position of the polygons in `Polygons.names`.
        slices: Rows and columns, within the window, of a rectangle that holds them all.
        is_inside: Which pixels of the rectangle they are.
    """

    zone: int
    slices: tuple[slice, slice]
    is_inside: Bool[np.ndarray, "y x"]


class Polygons:
    """Polygons of any CRS, joined where their names are equal; they may overlap.

    Args:
        path: A vector file that `read_vector` reads.
        column: Column of their names.
        option: Names the file in errors, such as `--zones`.

    Attributes:
        names: Their names, in the order of the file.
        hectares: Their areas on the WGS 84 ellipsoid.

    Raises:
        InvalidInputError: The file is absent, of an unknown kind, unreadable, or without a CRS, the
            column or a polygon.
    """

    def __init__(self, path: Path, column: str, option: str) -> None:
        frame = _checked(read_vector(path, f"{option} {path}"), column, f"{option} {path}")
        self._crs = CRS.from_user_input(frame.crs)
        joined = frame.dissolve(by=column, sort=False, observed=True)
        self.names: tuple[str, ...] = tuple(str(name) for name in joined.index)
        _check_on_earth(joined.geometry.to_numpy(), self._crs, f"{option} {path}")
        self._shapes = joined.geometry.segmentize(edge_of(self._crs)).to_numpy()
        self.hectares: Float64[np.ndarray, " zone"] = self._measured()
        self._local: tuple[object, np.ndarray, shapely.STRtree] | None = None

    def on(self, grid: Grid, window: Window) -> Iterator[Hold]:
        """Yield the pixels of a window that each of the polygons holds, for those that hold any."""
        shapes, tree = self._on_grid(grid)
        block = grid.block(window)
        ground = shapely.box(*block.bounds)
        for index in sorted(tree.query(ground, predicate="intersects").tolist()):
            hold = _hold(index, shapes[index], block)
            if hold.is_inside.any():
                yield hold

    def _measured(self) -> Float64[np.ndarray, " zone"]:
        shapes = shapely.orient_polygons(_carried(self._shapes, self._crs.to_wkt(), DEGREES))
        areas = [abs(EARTH.geometry_area_perimeter(shape)[0]) for shape in shapes]
        return np.array(areas, np.float64) / SQUARE_METRES

    def _on_grid(self, grid: Grid) -> tuple[np.ndarray, shapely.STRtree]:
        """Return the polygons in a grid's CRS; what lies far from the grid is cut off."""
        place = grid.crs, grid.bounds
        if self._local is None or self._local[0] != place:
            source = self._crs.to_wkt()
            near = shapely.intersection(self._shapes, _around(grid, source))
            # What was cut off left a straight edge, which bends as others do.
            near = shapely.segmentize(near, edge_of(self._crs))
            shapes = _valid(_carried(near, source, grid.crs))
            shapely.prepare(shapes)
            self._local = place, shapes, shapely.STRtree(shapes)
        return self._local[1], self._local[2]


def _checked(frame: geopandas.GeoDataFrame, column: str, told: str) -> geopandas.GeoDataFrame:
    if column not in frame.columns or column == "geometry":
        known = ", ".join(str(name) for name in frame.columns if name != "geometry")
        raise InvalidInputError(
            f"{told} has no column {column!r}; name one of {known} with --column"
        )
    if frame[column].isna().any():
        raise InvalidInputError(f"{told}: column {column!r} is empty in some rows; name them all")
    shapes = _valid(frame.geometry.to_numpy())
    if not len(shapes) or not (shapely.area(shapes) > 0).all():
        raise InvalidInputError(f"{told}: must hold polygons, each with an area, and nothing else")
    return frame[[column]].set_geometry(shapes, crs=frame.crs)


def _check_on_earth(shapes: np.ndarray, crs: CRS, told: str) -> None:
    try:
        corners = shapely.get_coordinates(_carried(shapes, crs.to_wkt(), DEGREES))
    except ProjError:
        raise InvalidInputError(f"{told}: has a CRS that is not of the Earth") from None
    if not np.isfinite(corners).all():
        raise InvalidInputError(f"{told}: lies outside the world of its CRS")


def _valid(shapes: np.ndarray) -> np.ndarray:
    valid = np.asarray(shapely.make_valid(shapes))
    is_mixed = shapely.get_type_id(valid) == shapely.GeometryType.GEOMETRYCOLLECTION
    valid[is_mixed] = [_areal(shape) for shape in valid[is_mixed]]
    return valid


def _areal(shape: BaseGeometry) -> BaseGeometry:
    """Return the polygons of what is left of an invalid one, without its loose ends."""
    parts = shapely.get_parts(shape)
    return shapely.union_all(parts[shapely.area(parts) > 0])


def _carried(shapes: np.ndarray, source: str, target: str) -> np.ndarray:
    carry = transformer(source, target)

    def moved(points: np.ndarray) -> np.ndarray:
        return np.stack(carry.transform(*points.T), axis=1)

    return np.asarray(shapely.transform(shapes, moved))


def _around(grid: Grid, crs: str) -> BaseGeometry:
    """Return the ground of a grid, and some more, as boxes of another CRS."""
    left, bottom, right, top = transformer(grid.crs, crs).transform_bounds(*grid.bounds, 101)
    across, up = _MARGIN * abs(right - left), _MARGIN * (top - bottom)
    if left > right:
        across = _MARGIN
        boxes = [(left - across, 180.0), (-180.0, right + across)]
    else:
        boxes = [(left - across, right + across)]
    return shapely.union_all([shapely.box(w, bottom - up, e, top + up) for w, e in boxes])


def _hold(index: int, shape: BaseGeometry, block: Block) -> Hold:
    """Return which pixels of a block have their centre in a shape."""
    if shapely.contains(shape, shapely.box(*block.bounds)):
        every = slice(0, block.height), slice(0, block.width)
        return Hold(index, every, np.ones((block.height, block.width), np.bool_))
    (left, top), (right, bottom) = (
        (~block.transform) @ corner
        for corner in ((shape.bounds[0], shape.bounds[3]), (shape.bounds[2], shape.bounds[1]))
    )
    rows = slice(max(int(top) - 1, 0), min(int(bottom) + 2, block.height))
    columns = slice(max(int(left) - 1, 0), min(int(right) + 2, block.width))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height <= 0 or width <= 0:
        return Hold(index, (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_))
    burned = rasterio.features.rasterize(
        [shape],
        (height, width),
        transform=block.transform @ block.transform.translation(columns.start, rows.start),
        dtype="uint8",
    )
    return Hold(index, (rows, columns), burned == 1)
