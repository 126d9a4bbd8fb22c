import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Proj, Transformer

from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import inside_bbox, owned
from sscl_geo.geo.surface import pixel_hectares
from sscl_geo.geo.zones import grids_of

PLACES = {
    "EPSG:32633": (800040, 100020),
    "EPSG:32760": (813000, 8010000),
    "EPSG:3035": (4000020, 3000000),
    "EPSG:3031": (-1260, 1260),
    "EPSG:3857": (1000020, 7000020),
}


def grid_at(crs: str, shape: tuple[int, int] = (600, 900)) -> Grid:
    return Grid(crs=crs, origin=PLACES[crs], shape=shape, tile_px=256)


@pytest.mark.parametrize("crs", PLACES)
@given(st.integers(0, 599), st.integers(0, 899))
def test_a_pixel_is_as_large_as_the_geodesics_around_it_say(
    crs: str, row: int, column: int
) -> None:
    grid = grid_at(crs)
    # Ten pixels a side, as geodesics tell an area at a pole to a hundredth of a square metre.
    row, column = min(row, 590), min(column, 890)
    left, top = grid.origin[0] + 10 * column, grid.origin[1] - 10 * row
    x, y = [left, left + 100, left + 100, left], [top, top, top - 100, top - 100]
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(*there.transform(x, y))
    found = pixel_hectares(grid, Window(row, column, 10, 10)).sum()
    limit = 1e-3 if crs == "EPSG:3857" else 3e-5
    assert found == pytest.approx(abs(area) / 10000, rel=limit)


def test_proj_names_the_same_scale() -> None:
    grid = grid_at("EPSG:32633")
    x, y = grid.origin[0] + 1280, grid.origin[1] - 1280
    place = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    scale = Proj(grid.crs).get_factors(*place).areal_scale
    assert pixel_hectares(grid, Window(0, 0, 9, 9)) == pytest.approx(0.01 / scale, rel=1e-7)


@given(st.integers(1, 599), st.integers(1, 899))
def test_windows_side_by_side_have_the_areas_of_the_whole(row: int, column: int) -> None:
    grid = grid_at("EPSG:32633")
    whole = pixel_hectares(grid, Window(0, 0, 600, 900))
    parts = [
        [
            pixel_hectares(grid, Window(y, x, height, width))
            for x, width in ((0, column), (column, 900 - column))
        ]
        for y, height in ((0, row), (row, 600 - row))
    ]
    assert np.array_equal(np.block(parts), whole)


def test_a_box_on_two_zones_has_the_area_of_its_ellipsoid() -> None:
    box = BBox(5.9, 45, 6.1, 45.1)
    found = 0.0
    for grid in grids_of(Area(bbox=box), "auto", 512):
        for tile in grid.tiles:
            window = grid.window(tile)
            inside = owned(grid, window) & inside_bbox(grid.block(window), box)
            found += float(pixel_hectares(grid, window)[inside].sum())
    west, south, east, north = box
    bottom = np.linspace(west, east, 50)
    ring = np.concatenate([bottom, bottom[::-1]]), np.repeat([south, north], 50)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(*ring)
    assert found == pytest.approx(area / 10000, rel=1e-4)
