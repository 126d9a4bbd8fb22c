"""Regions of vector files: the ground that was drawn, in whatever CRS."""

from pathlib import Path

import geopandas
import pytest
import shapely
from pyproj import Geod, Transformer
from shapely.geometry.base import BaseGeometry

from sscl_geo.geo.area import Area
from sscl_geo.io.region import read_region


def region(path: Path, polygon: BaseGeometry, crs: str) -> Area:
    geopandas.GeoDataFrame(geometry=[polygon], crs=crs).to_file(path)
    return read_region(path)


def square_km(area: Area) -> float:
    parts = shapely.get_parts(area.polygon)
    return sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) for part in parts) / 1e6


def test_a_region_of_a_projection_over_the_antimeridian_is_the_one_that_was_drawn(
    tmp_path: Path,
) -> None:
    drawn = shapely.box(2_000_000, 3_800_000, 2_300_000, 4_000_000)
    hole = shapely.box(2_120_000, 3_900_000, 2_140_000, 3_910_000)
    area = region(tmp_path / "fiji.gpkg", drawn - hole, "EPSG:3460")
    assert area.bbox.crosses_antimeridian
    assert (area.bbox.east - area.bbox.west) % 360 < 4
    assert square_km(area) == pytest.approx(300 * 200 - 20 * 10, rel=0.01)


def test_no_part_of_a_region_is_lost_however_it_is_drawn(tmp_path: Path) -> None:
    spike = [(0, 0), (9000, 9000), (9000, 0), (0, 9000), (0, 0), (0, -9000), (0, 0)]
    west, south = 500_000, 5_800_000
    bow_tie = shapely.Polygon([(x + west, y + south) for x, y in spike])
    square = shapely.box(west + 20_000, south, west + 25_000, south + 5000)
    path = tmp_path / "spike.gpkg"
    geopandas.GeoDataFrame(geometry=[bow_tie, square], crs="EPSG:32633").to_file(path)
    assert square_km(read_region(path)) == pytest.approx(81 / 2 + 25, rel=0.01)


def test_long_edges_of_a_projection_stay_straight_in_it(tmp_path: Path) -> None:
    west, south, east, north = 3_000_000, 2_000_000, 5_500_000, 4_500_000
    area = region(tmp_path / "europe.gpkg", shapely.box(west, south, east, north), "EPSG:3035")
    assert square_km(area) == pytest.approx(2500 * 2500, rel=0.001)
    carried = Transformer.from_crs(3035, 4326, always_xy=True)
    for share in (0.1, 0.5, 0.9):
        x, y = west + share * (east - west), south + share * (north - south)
        for inner in ((x, south + 100), (x, north - 100), (west + 100, y), (east - 100, y)):
            assert shapely.contains_xy(area.polygon, *carried.transform(*inner))
