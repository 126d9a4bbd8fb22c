"""How many hectares of each class a map has."""

from collections.abc import Iterator
from pathlib import Path

from jaxtyping import Float64
from numpy import ndarray

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.areas import class_hectares, zonal_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import Location
from sscl_geo.io.polygons import Polygons
from sscl_geo.io.records import Record, check_table, write_table

BIASED = "counted pixels, biased by the map's errors; adjust with sscl-geo assess"
OUTSIDE = "outside: no pixel of the map has its centre in this zone"
UNMAPPED = "unmapped"


class AreasRequest(Frozen):
    """What is measured.

    Attributes:
        map: The map.
        zones: Vector file of polygons; None measures the whole map.
        column: Column of their names.
    """

    map: Location
    zones: Path | None = None
    column: str | None = None


def measure_areas(request: AreasRequest, out: Path) -> float:
    """Write the hectares of each class, in each zone if there are zones; return the mapped sum.

    One row a class, and one with value 0, `unmapped`, for the ground without a class, so that a
    hole is not taken for an absence. With zones, `zone_ha` is the area of the polygon itself and
    `covered_percent` how much of it the pixels of the map have: what lies beyond the map's tiles
    is in no row. A zone without any pixel keeps its rows, all 0, whose note begins with `outside`.

    Raises:
        InvalidInputError: The map or the zones cannot be read, or `out` is no .csv or .parquet.
    """
    check_table(out)
    if request.column is not None and request.zones is None:
        raise InvalidInputError(f"--column {request.column}: is of --zones; give both, or neither")
    mapped = Classes.open(request.map, "map")
    if request.zones is None:
        total = class_hectares(mapped)
        write_table(out, list(_rows(mapped.legend, total)), BIASED)
    else:
        zones = Polygons(request.zones, _column(request), "--zones")
        total = zonal_hectares(mapped, zones)
        write_table(out, list(_zone_rows(mapped.legend, zones, total)), BIASED)
    return float(total[..., UNLABELLED + 1 :].sum())


def _column(request: AreasRequest) -> str:
    if request.column is None:
        raise InvalidInputError(
            f"--zones {request.zones}: name the column that tells zones apart with --column"
        )
    return request.column


def _zone_rows(
    legend: Legend, zones: Polygons, total: Float64[ndarray, "zone value"]
) -> Iterator[Record]:
    for name, size, hectares in zip(zones.names, zones.hectares, total, strict=True):
        counted = hectares.sum()
        of_zone: Record = {
            "zone_ha": round(float(size), 4),
            "covered_percent": round(100 * float(counted / size), 2),
            "note": BIASED if counted > 0 else OUTSIDE,
        }
        for row in _rows(legend, hectares):
            yield {"zone": name, **row, **of_zone}


def _rows(legend: Legend, hectares: Float64[ndarray, " value"]) -> Iterator[Record]:
    named = [*((item.value, item.name) for item in legend.classes), (UNLABELLED, UNMAPPED)]
    total = max(float(hectares.sum()), 1e-9)
    for value, name in named:
        counted = float(hectares[value])
        yield {
            "value": value,
            "class": name,
            "counted_ha": round(counted, 4),
            "share_percent": round(100 * counted / total, 4),
        }
