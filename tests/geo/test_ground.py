import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Block, Grid, Tile
from sscl_geo.geo.ground import block_bbox, inside_bbox, owned, tile_bbox
from sscl_geo.geo.zones import grids_of


@st.composite
def boxes(draw: st.DrawFn, widest: float = 3.0) -> BBox:
    west, south = draw(st.floats(-180, 179.999)), draw(st.floats(-79.9, 83))
    east = west + draw(st.floats(0.001, widest))
    north = min(south + draw(st.floats(0.001, widest)), 84.0)
    return BBox(west, south, east if east <= 180 else east - 360, north)


def degrees(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Return longitude and latitude of each pixel's centre."""
    columns, rows = np.meshgrid(np.arange(block.width) + 0.5, np.arange(block.height) + 0.5)
    there = Transformer.from_crs(block.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = there.transform(*(block.transform @ (columns, rows)))
    return longitude, latitude


def held_in(box: BBox, block: Block, slack: float = 0.0) -> np.ndarray:
    """Return which pixels' centres lie in a half-open box, or next to it."""
    longitude, latitude = degrees(block)
    across = [
        (longitude >= part.west - slack) & (longitude < part.east + slack) for part in box.split()
    ]
    up = (latitude >= box.south - slack) & (latitude < box.north + slack)
    return np.asarray(np.any(across, axis=0) & up)


@settings(max_examples=40)
@given(boxes(widest=0.5), st.data())
def test_the_box_of_a_tile_holds_its_pixels(box: BBox, data: st.DataObject) -> None:
    assume(box.north < 80)
    grid = data.draw(st.sampled_from(grids_of(Area(bbox=box), "auto", 512)))
    tile = data.draw(st.sampled_from(grid.tiles))
    held = tile_bbox(grid, tile)
    assert held.south < held.north
    assert held_in(held, grid.block(grid.window(tile)), 1e-6).all()


POLAR = Block("EPSG:3995", Affine(2000, 0, -50_000, 0, -2000, 70_000), 60, 60)
TEMPERATE = Block("EPSG:32633", Affine(100, 0, 500_000, 0, -100, 5_800_000), 60, 60)


@pytest.mark.parametrize(
    ("block", "around"), [(POLAR, BBox(-180, 88, 180, 90)), (TEMPERATE, BBox(14, 51, 17, 54))]
)
@given(data=st.data())
def test_pixels_are_inside_where_their_centres_are(
    block: Block, around: BBox, data: st.DataObject
) -> None:
    assert held_in(block_bbox(block), block, 1e-6).all()
    west, east = sorted(data.draw(st.floats(around.west, around.east)) for _ in range(2))
    south, north = sorted(data.draw(st.floats(around.south, around.north)) for _ in range(2))
    box = BBox(west, south, east, north)
    assert np.array_equal(inside_bbox(block, box), held_in(box, block))


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


@pytest.mark.parametrize("box", [BBox(5.98, 45, 6.02, 45.02), BBox(20, -0.02, 20.03, 0.02)])
def test_pixels_of_neighbouring_grids_are_counted_once(box: BBox) -> None:
    grids = grids_of(Area(bbox=box), "auto", 256)
    hectares = 0.0
    for grid in grids:
        for tile in grid.tiles:
            window = grid.window(tile)
            inside = owned(grid, window) & inside_bbox(grid.block(window), box)
            hectares += inside.sum() / 100
    middle = np.radians((box.south + box.north) / 2)
    east_west = 111.32 * np.cos(middle) * (box.east - box.west)
    assert hectares == pytest.approx(100 * east_west * 110.9 * (box.north - box.south), rel=0.01)
