import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area, area_of_polygons
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import SNAP, Grid
from sscl_geo.geo.zones import grids_of as grids_of_area
from tests.owners import owners


def grids_of(box: BBox, choice: str, tile_px: int) -> tuple[Grid, ...]:
    return grids_of_area(Area(bbox=box), choice, tile_px)


@st.composite
def boxes(draw: st.DrawFn, widest: float = 3.0) -> BBox:
    west, south = draw(st.floats(-180, 179.999)), draw(st.floats(-79.9, 83))
    east = west + draw(st.floats(0.001, widest))
    north = min(south + draw(st.floats(0.001, widest)), 84.0)
    return BBox(west, south, east if east <= 180 else east - 360, north)


def points(box: BBox) -> tuple[np.ndarray, np.ndarray]:
    """Return points all over a box of any width, its edges included."""
    width = (box.east - box.west) % 360
    across, up = np.meshgrid(np.linspace(0, 1, 101), np.linspace(box.south, box.north, 101))
    longitude = box.west + across.ravel() * width
    return np.where(longitude > 180, longitude - 360, longitude), up.ravel()


def is_within(grid: Grid, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Tell which points lie on the grid, or beyond it by less than half a pixel."""
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(
        longitude, latitude
    )
    left, bottom, right, top = grid.bounds
    return np.asarray((x > left - 5) & (x < right + 5) & (y > bottom - 5) & (y < top + 5))


@settings(max_examples=60)
@given(boxes())
def test_the_utm_grids_of_a_box_cover_it_and_are_snapped(box: BBox) -> None:
    grids = grids_of(box, "auto", 256)
    longitude, latitude = points(box)
    assert np.logical_or.reduce([is_within(grid, longitude, latitude) for grid in grids]).all()
    for grid in grids:
        assert all(value % SNAP == 0 for value in grid.bounds)
        assert min(grid.shape) > 0
    assert len({grid.zone for grid in grids}) == len(grids)


@settings(max_examples=60)
@given(boxes(widest=0.2))
def test_the_utm_grids_of_a_box_waste_little(box: BBox) -> None:
    area = sum(grid.shape[0] * grid.shape[1] / 1e4 for grid in grids_of(box, "auto", 256))
    height = (box.north - box.south) * 111.7
    width = (box.east - box.west) % 360 * 111.4
    lean = 0.1 * (height + width) + 0.3
    assert area < (height + lean) * (width + lean) + 4


@pytest.mark.parametrize(
    ("box", "crs"),
    [
        (BBox(13, 52, 14, 53), ["EPSG:32633"]),
        (BBox(5.9, 45, 6.1, 45.1), ["EPSG:32631", "EPSG:32632"]),
        (BBox(5.9, 45, 6.0, 45.1), ["EPSG:32631"]),
        (BBox(6.0, 45, 6.1, 45.1), ["EPSG:32632"]),
        (BBox(178, -18, -179, -16), ["EPSG:32760", "EPSG:32701"]),
        (BBox(179, 10, 180, 11), ["EPSG:32660"]),
        (BBox(-180, 10, -179, 11), ["EPSG:32601"]),
        (BBox(30, -2, 31, 1), ["EPSG:32636", "EPSG:32736"]),
        (BBox(30, -2, 31, 0), ["EPSG:32736"]),
        (BBox(30, 0, 31, 2), ["EPSG:32636"]),
        (BBox(5, 50, 19, 51), [f"EPSG:326{zone}" for zone in (31, 32, 33, 34)]),
    ],
)
def test_there_is_one_grid_in_each_zone_that_a_box_touches(box: BBox, crs: list[str]) -> None:
    assert [grid.crs for grid in grids_of(box, "auto", 256)] == crs


@pytest.mark.parametrize("box", [BBox(0, 83, 1, 84.1), BBox(0, -80.1, 1, -79)])
def test_utm_does_not_reach_the_poles(box: BBox) -> None:
    with pytest.raises(InvalidInputError, match="EPSG:3031 or EPSG:3413"):
        grids_of(box, "auto", 256)


@pytest.mark.parametrize(
    ("box", "choice"),
    [
        (BBox(9, 48, 9.5, 48.5), "EPSG:3035"),
        (BBox(9, 48, 9.5, 48.5), "epsg:3035"),
        (BBox(-9, 36, 30, 60), "EPSG:3035"),
        (BBox(178, -18, -179, -16), "EPSG:3832"),
        (BBox(10, 86, 20, 87), "EPSG:3413"),
    ],
)
def test_the_grid_of_a_named_crs_covers_the_box(box: BBox, choice: str) -> None:
    (grid,) = grids_of(box, choice, 256)
    assert grid.crs == choice.upper()
    assert is_within(grid, *points(box)).all()


@pytest.mark.parametrize(
    "choice",
    ["EPSG:4326", "EPSG:2263", "EPSG:999999", "utm", "", "+proj=laea +lat_0=52 +lon_0=11 +units=m"],
)
def test_a_crs_that_is_unknown_or_not_in_metres_is_refused(choice: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--grid .*EPSG:3035"):
        grids_of(BBox(-74, 40, -73, 41), choice, 256)


@pytest.mark.parametrize("tile_px", [0, -256, 100, 300, 257])
def test_a_tile_that_holds_no_whole_chunks_is_refused(tile_px: int) -> None:
    with pytest.raises(InvalidInputError, match=f"--tile-px {tile_px}: must be a multiple of 256"):
        grids_of(BBox(13, 52, 14, 53), "auto", tile_px)


def place_in(box: BBox, across: float, up: float) -> tuple[float, float]:
    longitude = box.west + across * ((box.east - box.west) % 360)
    wrapped = longitude - 360 if longitude >= 180 else longitude
    return wrapped, box.south + up * (box.north - box.south)


@given(boxes(widest=8.0), st.floats(0, 0.999), st.floats(0, 0.999))
def test_every_place_of_a_box_is_owned_once(box: BBox, across: float, up: float) -> None:
    assert len(owners(grids_of(box, "auto", 2048), *place_in(box, across, up))) == 1


@pytest.mark.parametrize("choice", ["EPSG:3035", "EPSG:6933"])
@given(across=st.floats(0, 0.999), up=st.floats(0, 0.999))
def test_an_equal_area_grid_owns_every_place_once(choice: str, across: float, up: float) -> None:
    box = BBox(8, 47, 11, 49)
    assert len(owners(grids_of(box, choice, 2048), *place_in(box, across, up))) == 1


@st.composite
def triangles(draw: st.DrawFn) -> shapely.Polygon:
    x, y = draw(st.floats(-170, 160)), draw(st.floats(-70, 70))
    corners = st.tuples(st.floats(0, 9), st.floats(0, 9))
    drawn = [(x + a, y + b) for a, b in draw(st.tuples(corners, corners, corners))]
    return shapely.Polygon(drawn)


@settings(max_examples=50)
@given(triangles(), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=5, max_size=5))
def test_every_place_of_a_region_is_owned_once_and_tiles_off_it_are_left_out(
    triangle: shapely.Polygon, places: list[tuple[float, float]]
) -> None:
    if triangle.area < 1e-3:
        return
    area = area_of_polygons(triangle, "region")
    grids = grids_of_area(area, "auto", 2048)
    west, south, east, north = triangle.bounds
    for across, up in places:
        place = west + across * (east - west), south + up * (north - south)
        if shapely.contains_xy(triangle, *place):
            assert len(owners(grids, *place)) == 1
    kept = sum(len(grid.tiles) for grid in grids)
    assert kept <= sum(len(grid.cells) for grid in grids)


def test_a_region_over_the_antimeridian_has_a_box_that_crosses_it() -> None:
    fiji = shapely.union(shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16))
    area = area_of_polygons(fiji, "fiji.geojson")
    assert area.bbox == BBox(177, -19, -178, -16)
    assert [grid.crs for grid in grids_of_area(area, "auto", 256)] == ["EPSG:32760", "EPSG:32701"]


def test_a_slanted_region_leaves_out_the_corners_of_its_box() -> None:
    strip = shapely.LineString([(10, 45), (11.9, 47)]).buffer(0.05)
    (grid,) = grids_of_area(area_of_polygons(strip, "strip"), "auto", 1024)
    assert len(grid.tiles) < 0.3 * len(grid.cells)


@pytest.mark.parametrize("empty", [shapely.Polygon(), shapely.Point(3, 4).buffer(0)])
def test_a_region_without_ground_is_refused(empty: shapely.Polygon) -> None:
    with pytest.raises(InvalidInputError, match=r"r\.gpkg: holds no polygon"):
        area_of_polygons(empty, "r.gpkg")


@pytest.mark.parametrize(
    ("box", "choice"),
    [
        (BBox(-170, -53, -169, -52), "EPSG:3035"),
        (BBox(104, -1, 106, 1), "EPSG:32633"),
        (BBox(-100, 40, -99, 41), "EPSG:32633"),
        (BBox(14, 50, 25, 51), "EPSG:32633"),
        (BBox(-165, 50, -164, 51), "EPSG:32660"),
    ],
)
def test_a_crs_of_another_place_is_refused(box: BBox, choice: str) -> None:
    rule = f"--grid {choice}: is made for .* more than 6 degrees beyond"
    with pytest.raises(InvalidInputError, match=rule):
        grids_of(box, choice, 256)


@pytest.mark.parametrize("box", [BBox(17, 50, 23.9, 51), BBox(11, 50, 12.1, 51)])
def test_a_crs_serves_the_zone_beside_its_own(box: BBox) -> None:
    assert [grid.crs for grid in grids_of(box, "EPSG:32633", 2048)] == ["EPSG:32633"]
