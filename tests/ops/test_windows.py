import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Window
from sscl_geo.ops.windows import Lattice, blend_weights, checked_lattice

LATTICES = st.tuples(st.integers(0, 4), st.integers(0, 8)).map(
    lambda pair: checked_lattice(max(8 * pair[0] + 2 * pair[1], 2), 2 * pair[0])
)
TILES = st.builds(
    Window, st.integers(0, 90), st.integers(0, 90), st.integers(1, 70), st.integers(1, 70)
)
ORIGINS = st.tuples(st.integers(-500, 500), st.integers(-500, 500))


def inner(window: Window, tile: Window) -> tuple[slice, slice, slice, slice]:
    """Return what a window shares with a tile: in the tile's pixels, then in its own."""
    top, left = max(window.y, tile.y), max(window.x, tile.x)
    bottom = min(window.y + window.height, tile.y + tile.height)
    right = min(window.x + window.width, tile.x + tile.width)
    return (
        slice(top - tile.y, bottom - tile.y),
        slice(left - tile.x, right - tile.x),
        slice(top - window.y, bottom - window.y),
        slice(left - window.x, right - window.x),
    )


@given(LATTICES, TILES, ORIGINS)
def test_the_weights_of_the_windows_add_up_to_one_on_every_pixel(
    lattice: Lattice, tile: Window, origin: tuple[int, int]
) -> None:
    total = np.zeros((tile.height, tile.width))
    weights = blend_weights(lattice)
    for window in lattice.covering(tile, origin):
        rows, columns, its_rows, its_columns = inner(window, tile)
        total[rows, columns] += weights[its_rows, its_columns]
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)


@given(LATTICES, TILES, ORIGINS)
def test_every_window_reaches_into_the_tile_and_is_given_once(
    lattice: Lattice, tile: Window, origin: tuple[int, int]
) -> None:
    windows = lattice.covering(tile, origin)
    assert len(set(windows)) == len(windows)
    assert list(windows) == sorted(windows)
    for window in windows:
        rows, columns, _, _ = inner(window, tile)
        assert rows.start < rows.stop
        assert columns.start < columns.stop


@given(LATTICES, TILES, ORIGINS, st.integers(-60, 60), st.integers(-60, 60))
def test_a_window_lies_where_it_lies_whatever_grid_or_tile_asks(
    lattice: Lattice, tile: Window, origin: tuple[int, int], down: int, across: int
) -> None:
    moved = tile._replace(y=tile.y + down, x=tile.x + across)
    other = (origin[0] - down, origin[1] - across)
    assert [(w.y - down, w.x - across) for w in lattice.covering(moved, other)] == [
        (w.y, w.x) for w in lattice.covering(tile, origin)
    ]
    starts = {
        (w.y + origin[0] + lattice.halo, w.x + origin[1] + lattice.halo)
        for w in lattice.covering(tile, origin)
    }
    assert all(y % lattice.stride == 0 == x % lattice.stride for y, x in starts)


@given(LATTICES)
def test_weights_are_symmetric_and_positive(lattice: Lattice) -> None:
    weights = blend_weights(lattice)
    assert weights.shape == (lattice.size, lattice.size)
    assert (weights > 0).all()
    assert (weights <= 1).all()
    assert np.array_equal(weights, weights.T)
    assert np.array_equal(weights, weights[::-1, ::-1])


@pytest.mark.parametrize(
    ("size", "halo"), [(63, 8), (64, 7), (64, -2), (64, 18), (0, 0), (-2, 0), (30, 8)]
)
def test_a_lattice_whose_windows_overlap_too_far_is_refused(size: int, halo: int) -> None:
    with pytest.raises(InvalidInputError, match=f"window {size} px with halo {halo} px"):
        checked_lattice(size, halo)


@pytest.mark.parametrize(("size", "halo"), [(256, 32), (32, 8), (2, 0)])
def test_other_lattices_are_taken(size: int, halo: int) -> None:
    assert checked_lattice(size, halo) == Lattice(size, halo)
    assert Lattice(size, halo).stride == size - 2 * halo
