"""Samples of a map's pixels as GeoPackages, for interpreters to fill in with QGIS.

Interpreters must not know what the map says, or they will tend to agree with it. So the layer
`points`, which they open, does not hold the map's class, and its numbers are in random order; the
class lies in a table of its own, `hidden_strata`, that no style shows. The table `design` keeps how
the sample was drawn, and `layer_styles`, which QGIS reads by itself, a form that offers the legend.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyproj.exceptions import ProjError

from sscl_geo.errors import InvalidInputError, readable
from sscl_geo.geo.grid import GSD, Grid
from sscl_geo.geo.ground import DEGREES, transformer
from sscl_geo.io.disk import Disk
from sscl_geo.io.forms import interpreting_form
from sscl_geo.io.strata import Pixel
from sscl_geo.ops.sampling import Design

POINTS, STRATA, DESIGN = "points", "hidden_strata", "design"
REFERENCE: Final = "reference"
FIXED: Final = ("id", "zone", "row", "column", "x", "y")
"""Columns that interpreters see and do not change."""

_NOTHING = ("", "None", "nan", "<NA>")
"""What an empty cell reads as, by the column's type."""


class Interpreted(NamedTuple):
    """A point that came back.

    Attributes:
        id: Its number.
        longitude: Where it lies now, degrees; NaN without a geometry.
        latitude: As before.
        reference: What the interpreter wrote; None if nothing.
    """

    id: int
    longitude: float
    latitude: float
    reference: int | str | None


class Sample(NamedTuple):
    """What a GeoPackage of points holds: the design, the pixels drawn by number, the answers."""

    design: Design
    pixels: dict[int, Pixel]
    points: tuple[Interpreted, ...]


def write_sample(
    path: Path, design: Design, grids: Sequence[Grid], pixels: Sequence[Pixel]
) -> None:
    """Write a sample, whole; pixels are numbered from 1 on in the order given."""
    points, hidden = _tables(grids, pixels)
    told = pd.DataFrame({"design": [design.model_dump_json()]})
    style = pd.DataFrame(
        {
            "f_table_catalog": [""],
            "f_table_schema": [""],
            "f_table_name": [POINTS],
            "f_geometry_column": ["geom"],
            "styleName": [POINTS],
            "styleQML": [interpreting_form(design.legend, REFERENCE, FIXED)],
            "styleSLD": [""],
            "useAsDefault": [True],
            "description": ["Points to interpret"],
            "owner": [""],
            "ui": [None],
        }
    )
    with Disk().new_file(str(path)) as pending:
        pyogrio.write_dataframe(points, pending, POINTS, "GPKG", geometry_type="Point")
        for name, table in ((STRATA, hidden), (DESIGN, told), ("layer_styles", style)):
            options = {"FID": "id"} if name == "layer_styles" else {"FID": "fid"}
            pyogrio.write_dataframe(table, pending, name, "GPKG", layer_options=options)


def read_sample(path: Path, option: str) -> Sample:
    """Read a sample that `write_sample` wrote and interpreters filled in.

    Args:
        path: The GeoPackage.
        option: Names the file in errors, such as `--reference`.

    Raises:
        InvalidInputError: The file is absent, unreadable, no such sample, or lacks a column or CRS.
    """
    told = f"{option} {path}"
    if not path.is_file():
        raise InvalidInputError(f"{told}: no such file; make one with sscl-geo assess sample")
    with readable(told):
        with path.open("rb") as file:
            is_package = file.read(16) == b"SQLite format 3\0"
        layers = {str(name) for name, _ in pyogrio.list_layers(path)} if is_package else set()
        if not {POINTS, STRATA, DESIGN} <= layers:
            raise InvalidInputError(
                f"{told}: is not a sample with its design; give the GeoPackage that "
                "sscl-geo assess sample made, with the points filled in, not an export of them"
            )
        points = geopandas.read_file(path, layer=POINTS)
        hidden, design = (
            pyogrio.read_dataframe(path, layer, read_geometry=False) for layer in (STRATA, DESIGN)
        )
    interpreted = tuple(_interpreted(points, told))
    try:
        fields = hidden[["id", "zone", "row", "column", "map_class"]].itertuples(index=False)
        return Sample(
            Design.model_validate_json(design["design"].iloc[0]),
            {int(number): Pixel(str(z), int(r), int(c), int(v)) for number, z, r, c, v in fields},
            interpreted,
        )
    except (KeyError, IndexError, ValueError):
        raise InvalidInputError(
            f"{told}: its tables {STRATA} and {DESIGN} were changed; draw the sample again"
        ) from None


def _interpreted(points: geopandas.GeoDataFrame, told: str) -> list[Interpreted]:
    for column in ("id", REFERENCE):
        if column not in points.columns:
            raise InvalidInputError(f"{told}: layer {POINTS} has lost its column {column!r}")
    if points["id"].isna().any():
        raise InvalidInputError(f"{told}: a point has no id; delete points that you added")
    if points.crs is None:
        raise InvalidInputError(f"{told}: layer {POINTS} has no CRS; it had {DEGREES}")
    try:
        degrees = points.to_crs(DEGREES).geometry
    except ProjError:
        raise InvalidInputError(
            f"{told}: layer {POINTS} has a CRS that is not of the Earth"
        ) from None
    places = shapely.get_coordinates(_or_nowhere(degrees))
    return [
        Interpreted(int(number), float(x), float(y), _answer(reference))
        for number, (x, y), reference in zip(
            points["id"], places, points[REFERENCE].tolist(), strict=True
        )
    ]


def _or_nowhere(shapes: geopandas.GeoSeries) -> np.ndarray:
    """Return one point a row, of NaN where there is none."""
    found = shapes.to_numpy().copy()
    found[shapely.is_missing(found) | shapely.is_empty(found)] = shapely.Point(np.nan, np.nan)
    return np.asarray(shapely.centroid(found))


def _answer(reference: object) -> int | str | None:
    """Return a class number as one, whatever the column's type; rubbish as its text."""
    text = str(reference).strip()
    if text in _NOTHING:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else text


def _tables(
    grids: Sequence[Grid], pixels: Sequence[Pixel]
) -> tuple[geopandas.GeoDataFrame, pd.DataFrame]:
    by_zone = {grid.zone: grid for grid in grids}
    frame = pd.DataFrame(pixels, columns=["zone", "row", "column", "map_class"])
    frame.insert(0, "id", np.arange(1, len(frame) + 1))
    places = [pixel_centre(by_zone[pixel.zone], pixel) for pixel in pixels]
    degrees = [
        transformer(by_zone[pixel.zone].crs, DEGREES).transform(*place)
        for pixel, place in zip(pixels, places, strict=True)
    ]
    points = frame.drop(columns="map_class")
    points["x"], points["y"] = np.array(places, np.float64).reshape(-1, 2).T
    points[REFERENCE] = pd.array([None] * len(frame), dtype="Int32")
    points["note"] = pd.array([None] * len(frame), dtype="str")
    shapes = shapely.points(np.array(degrees, np.float64).reshape(-1, 2))
    return geopandas.GeoDataFrame(points, geometry=shapes, crs=DEGREES), frame


def pixel_centre(grid: Grid, pixel: Pixel) -> tuple[float, float]:
    """Return x and y of a pixel's centre in the grid's CRS."""
    left, top = grid.origin
    return left + GSD * (pixel.column + 0.5), top - GSD * (pixel.row + 0.5)
