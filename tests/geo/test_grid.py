import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import (
    SNAP,
    Block,
    Grid,
    Tile,
    Window,
    grids_of,
    inside_bbox,
    tile_bbox,
)

SIXES = st.integers(1, 300).map(lambda number: 6 * number)
GRIDS = st.builds(
    Grid,
    crs=st.just("EPSG:32633"),
    origin=st.tuples(st.integers(3000, 9000), st.integers(1, 150000)).map(
        lambda corner: (corner[0] * SNAP, corner[1] * SNAP)
    ),
    shape=st.tuples(SIXES, SIXES),
    tile_px=st.sampled_from([256, 512, 768]),
)


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


@given(GRIDS)
def test_every_pixel_belongs_to_one_tile(grid: Grid) -> None:
    count = np.zeros(grid.shape, np.int32)
    for tile in grid.tiles:
        window = grid.window(tile)
        assert window.height > 0
        assert window.width > 0
        count[window.slices] += 1
    assert (count == 1).all()
    assert len({tile.key for tile in grid.tiles}) == len(grid.tiles)


@given(GRIDS)
def test_the_ground_of_tiles_is_the_ground_of_the_grid(grid: Grid) -> None:
    blocks = [grid.block(grid.window(tile)).bounds for tile in grid.tiles]
    lefts, bottoms, rights, tops = zip(*blocks, strict=True)
    assert (min(lefts), min(bottoms), max(rights), max(tops)) == grid.bounds


@given(GRIDS, st.sampled_from([20, 60]))
def test_coarser_pixels_cover_the_same_ground(grid: Grid, gsd: int) -> None:
    whole = Window(0, 0, *grid.shape)
    assert grid.block(whole.at(gsd), gsd).bounds == grid.block(whole).bounds


@given(GRIDS)
def test_tiles_nest_in_pixels_of_20_m(grid: Grid) -> None:
    for tile in grid.tiles:
        window = grid.window(tile)
        assert grid.block(window.at(20), 20).bounds == grid.block(window).bounds


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 50), st.sampled_from([10, 20]))
def test_a_window_at_a_gsd_is_the_same_ground(y: int, x: int, size: int, gsd: int) -> None:
    window = Window(2 * y, 2 * x, 2 * size, 2 * size)
    assert tuple(value * gsd for value in window.at(gsd)) == tuple(value * 10 for value in window)


@given(GRIDS)
def test_the_lattice_origin_counts_pixels_from_the_origin_of_the_crs(grid: Grid) -> None:
    row, column = grid.lattice_origin
    left, _, _, top = grid.bounds
    assert (column * 10, -row * 10) == (left, top)


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
        (BBox(30, -2, 31, 1), ["EPSG:32736"]),
        (BBox(30, -1, 31, 2), ["EPSG:32636"]),
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


@pytest.mark.parametrize(
    ("origin", "shape"), [((30, 60), (6, 6)), ((60, 70), (6, 6)), ((60, 60), (6, 7))]
)
def test_a_grid_off_the_lattice_is_refused(origin: tuple[int, int], shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 60 m"):
        Grid(crs="EPSG:32633", origin=origin, shape=shape)


@settings(max_examples=40)
@given(boxes(widest=0.5), st.data())
def test_the_box_of_a_tile_holds_its_pixels(box: BBox, data: st.DataObject) -> None:
    assume(box.north < 80)
    grid = data.draw(st.sampled_from(grids_of(box, "auto", 512)))
    tile = data.draw(st.sampled_from(grid.tiles))
    held = tile_bbox(grid, tile)
    assert held.south < held.north
    west, south, east, north = held
    widened = BBox(west - 1e-6, south - 1e-6, east + 1e-6, north + 1e-6)
    assert inside_bbox(grid.block(grid.window(tile)), widened).all()


def test_the_box_of_a_tile_over_the_antimeridian_crosses_it() -> None:
    grid = Grid(crs="EPSG:32760", origin=(810000, 8010000), shape=(1500, 1500), tile_px=1536)
    box = tile_bbox(grid, Tile(zone=grid.zone, row=0, column=0))
    assert box.crosses_antimeridian
    assert 179 < box.west < 180
    assert -180 < box.east < -179


@pytest.mark.parametrize(
    ("crs", "left", "top"), [("EPSG:32633", 500000, 5800000), ("EPSG:32760", 813000, 8010000)]
)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_boxes_side_by_side_share_no_pixel_and_miss_none(
    crs: str, left: int, top: int, across: float, up: float
) -> None:
    block = Block(crs, Affine(1000, 0, left, 0, -1000, top), 12, 9)
    whole = box_around(block)
    width = (whole.east - whole.west) % 360
    cut = whole.west + across * width
    cut = cut - 360 if cut > 180 else cut
    level = whole.south + up * (whole.north - whole.south)
    quarters = [
        BBox(west, south, east, north)
        for west, east in ((whole.west, cut), (cut, whole.east))
        for south, north in ((whole.south, level), (level, whole.north))
        if west != east
    ]
    count = np.sum([inside_bbox(block, part) for part in quarters], axis=0)
    assert (count == 1).all()


def box_around(block: Block) -> BBox:
    left, bottom, right, top = block.bounds
    there = Transformer.from_crs(block.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = there.transform([left, right, left, right], [bottom, bottom, top, top])
    signed = [value % 360 for value in longitude]
    west, east = min(signed) - 0.001, max(signed) + 0.001
    west, east = (value - 360 if value > 180 else value for value in (west, east))
    return BBox(west, min(latitude) - 0.001, east, max(latitude) + 0.001)
