"""From a map to polygons of its classes."""

import math
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.antimeridian import cut
from sscl_geo.geo.bbox import MAX_SPAN
from sscl_geo.geo.ground import DEGREES
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.pieces import outlined
from sscl_geo.io.vectors import check_vector, write_vector

LONGEST_EDGE = 1000.0
"""Metres after which an edge gets a corner before it is carried to degrees, where it bends."""

PIXEL_HECTARES = 0.01
"""A pixel of 10 m in the projection, by which pieces are told small."""

LAYER = "landcover"


def vectorize(map_path: AnyLocation, out: Path, smallest_ha: float) -> int:
    """Write a map's classes as polygons; return their number.

    A polygon is a piece of ground of one class whose pixels share edges, whole across tiles. Pieces
    smaller than the minimum mapping unit, counted in pixels of 100 m2, join the neighbour with the
    longest border, the smallest first; islands in ground that is not mapped have none and stay.
    Columns: `class`, `name`, `area_ha` (on the ground) and the geometry, in the CRS of the map, or
    in EPSG:4326 for a map of several UTM zones, whose polygons end where a zone ends.

    Pieces and polygons of a UTM zone are in memory at once, about 2 kB for each piece before
    merging: nine tiles of 2048 pixels with 700 000 pieces, which became 109 000 polygons, took
    1.6 GB and two minutes. A map that needs more is cut by the area of its cube.

    Raises:
        InvalidInputError: There is no map, it has no class, or `out` is no .parquet or .gpkg.
    """
    check_vector(out)
    if not math.isfinite(smallest_ha) or smallest_ha < 0:
        raise InvalidInputError(f"--min-area {smallest_ha}: must be 0 hectares or more")
    mapped = Classes.open(map_path, "map")
    fewest_px = math.ceil(round(smallest_ha / PIXEL_HECTARES, 6))
    frames = [_frame(mapped, zone, fewest_px) for zone in range(len(mapped.grids))]
    if len(frames) > 1:
        frames = [_in_degrees(frame) for frame in frames if len(frame)]
    if not sum(map(len, frames)):
        raise InvalidInputError(f"--map {map_path}: has no pixel with a class")
    whole = pd.concat(frames, ignore_index=True)
    write_vector(out, whole, LAYER)
    return len(whole)


def _frame(mapped: Classes, zone: int, fewest_px: int) -> geopandas.GeoDataFrame:
    grid, legend = mapped.grids[zone], mapped.legend
    found = outlined(mapped, grid, fewest_px)
    names = dict(zip(legend.values, legend.names, strict=True))
    return geopandas.GeoDataFrame(
        {
            "class": found.value,
            "name": [names[int(value)] for value in found.value],
            "area_ha": np.round(found.hectares, 4),
        },
        geometry=found.outline,
        crs=grid.crs,
    )


def _in_degrees(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    there = frame.set_geometry(frame.geometry.segmentize(LONGEST_EDGE)).to_crs(DEGREES)
    # The last pixels of a zone reach over the antimeridian, as their centres do not.
    bounds = there.geometry.bounds
    is_wide = (bounds.maxx - bounds.minx > MAX_SPAN).to_numpy()
    outlines = there.geometry.to_numpy().copy()
    outlines[is_wide] = [cut(outline) for outline in outlines[is_wide]]
    return there.set_geometry(geopandas.GeoSeries(outlines, there.index, crs=DEGREES))
