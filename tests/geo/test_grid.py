import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import SNAP, Block, Grid, Window

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


@pytest.mark.parametrize(
    ("origin", "shape"), [((30, 60), (6, 6)), ((60, 70), (6, 6)), ((60, 60), (6, 7))]
)
def test_a_grid_off_the_lattice_is_refused(origin: tuple[int, int], shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 60 m"):
        Grid(crs="EPSG:32633", origin=origin, shape=shape)


@given(GRIDS, st.sampled_from([256, 512, 1280]), st.data())
def test_tiles_of_another_size_keep_the_ground_that_was_kept(
    grid: Grid, tile_px: int, data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(grid.cells), min_size=1, unique=True))
    part = grid.replace(kept=tuple(sorted(kept)))
    was, now = (np.zeros(grid.shape, np.bool_) for _ in range(2))
    for tile in part.tiles:
        was[part.window(tile).slices] = True
    again = part.retiled(tile_px)
    for tile in again.tiles:
        touched = now[again.window(tile).slices]
        assert was[again.window(tile).slices].any()
        touched[...] = True
    assert now[was].all()


WINDOWS = st.builds(
    Window, st.integers(-9, 40), st.integers(-9, 40), st.integers(1, 40), st.integers(1, 40)
)


@given(WINDOWS, st.integers(1, 50), st.integers(1, 50))
def test_the_blocks_of_a_window_are_its_pixels_once_each(
    window: Window, height: int, width: int
) -> None:
    wide = window.grown(2)
    count = np.zeros((wide.height, wide.width), int)
    for block in window.blocks(height, width):
        assert block.height <= height
        assert block.width <= width
        count[block.within(wide).slices] += 1
    inside = np.zeros_like(count)
    inside[window.within(wide).slices] = 1
    assert np.array_equal(count, inside)
    assert inside.sum() == window.height * window.width
    assert Window.around(*np.nonzero(inside)) == window.within(wide)


def pixels(window: Window) -> set[tuple[int, int]]:
    rows, columns = (range(axis.start, axis.stop) for axis in window.slices)
    return {(row, column) for row in rows for column in columns}


@pytest.mark.parametrize("tile_px", [0, -256, 100, 2**16 + 256, 10**24])
def test_tiles_are_whole_chunks_and_not_larger_than_any_use(tile_px: int) -> None:
    grid = Grid(crs="EPSG:32633", origin=(0, 0), shape=(600, 600), tile_px=256, kept=((0, 0),))
    with pytest.raises(InvalidInputError, match=f"--tile-px {tile_px}: must be"):
        grid.retiled(tile_px)
    with pytest.raises(InvalidInputError, match=f"--tile-px {tile_px}: must be"):
        grid.replace(tile_px=tile_px)


@given(WINDOWS)
def test_a_window_holds_its_pixels_alone(window: Window) -> None:
    y, x = np.mgrid[-12:85, -12:85]
    held = window.holds(y, x)
    assert {*zip(y[held].tolist(), x[held].tolist(), strict=True)} == pixels(window)


@given(WINDOWS, WINDOWS)
def test_the_intersection_of_windows_is_that_of_their_pixels(one: Window, other: Window) -> None:
    shared = one.intersection(other)
    assert pixels(shared) == pixels(one) & pixels(other)
    assert shared.is_empty == (not pixels(shared))
    assert min(shared) >= -9
    for window in (one, other):
        assert min(shared.within(window)) >= 0


@given(WINDOWS, WINDOWS)
def test_the_union_of_windows_is_the_smallest_that_holds_both(one: Window, other: Window) -> None:
    both = np.array(sorted(pixels(one) | pixels(other)))
    assert one.union(other) == Window.around(*both.T)


@given(WINDOWS, st.sampled_from([10, 20, 60]))
def test_a_part_of_a_block_is_the_ground_of_its_pixels(window: Window, gsd: int) -> None:
    block = Block("EPSG:32633", Affine(gsd, 0, 500_000, 0, -gsd, 5_400_000), 40, 50)
    part = block.part(window)
    assert (part.crs, part.height, part.width) == (block.crs, window.height, window.width)
    for y, x in ((0, 0), (window.height, window.width)):
        assert part.transform @ (x, y) == block.transform @ (window.x + x, window.y + y)
    assert block.part(block.window) == block
