import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sscl_geo.geo.grid import Window
from sscl_geo.ops.blending import Blend, Blended
from sscl_geo.ops.windows import Lattice, checked_lattice

CLASSES = 3
LATTICE = checked_lattice(16, 4)


def told_by(window: Window, origin: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and seen pixels that depend on the window's place alone."""
    place = [abs(window.y + origin[0]), abs(window.x + origin[1])]
    random = np.random.default_rng(place)
    raw = random.random((CLASSES, window.height, window.width)).astype(np.float32)
    is_seen = random.random((window.height, window.width)) < 0.3
    return (raw / raw.sum(axis=0)).astype(np.float32), is_seen


def blended(tile: Window, origin: tuple[int, int], lattice: Lattice = LATTICE) -> Blended:
    blend = Blend(tile, CLASSES, lattice)
    for window in lattice.covering(tile, origin):
        blend.add(window, *told_by(window, origin))
    return blend.result()


@settings(max_examples=40)
@given(
    st.tuples(st.integers(0, 900), st.integers(0, 900)),
    st.integers(2, 40),
    st.integers(2, 40),
    st.data(),
)
def test_tiling_does_not_show(
    origin: tuple[int, int], height: int, width: int, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(1, height - 1)), data.draw(st.integers(1, width - 1))
    whole = blended(Window(0, 0, height, width), origin)
    for rows in (slice(0, row), slice(row, height)):
        for columns in (slice(0, column), slice(column, width)):
            size = rows.stop - rows.start, columns.stop - columns.start
            piece = blended(Window(rows.start, columns.start, *size), origin)
            for mine, theirs in zip(piece, whole, strict=True):
                assert np.array_equal(mine, theirs[..., rows, columns])


def test_windows_that_agree_are_not_changed_by_blending() -> None:
    tile = Window(0, 0, 30, 30)
    blend = Blend(tile, CLASSES, LATTICE)
    shares = np.array([0.2, 0.5, 0.3], np.float32)
    for window in LATTICE.covering(tile, (5, 7)):
        told = np.broadcast_to(shares[:, None, None], (3, window.height, window.width)).copy()
        blend.add(window, told, np.ones((window.height, window.width), np.bool_))
    result = blend.result()
    assert (result.position == 1).all()
    assert result.probability == pytest.approx(np.full((30, 30), 0.5), rel=1e-6)
    assert result.is_seen.all()


def test_the_second_class_is_the_most_probable_of_the_others() -> None:
    result = blended(Window(0, 0, 30, 40), (3, 5))
    seen = result.is_seen
    ordered = np.sort(result.shares, axis=0)
    assert np.array_equal(result.probability[seen], ordered[-1][seen])
    assert np.array_equal(result.second_probability[seen], ordered[-2][seen])
    told = np.take_along_axis(result.shares, result.second[None], 0)[0]
    assert np.array_equal(told[seen], ordered[-2][seen])
    assert (result.second != result.position).all()
    assert result.shares.sum(0)[seen] == pytest.approx(1, abs=1e-5)


@given(
    arrays(
        np.int8, st.tuples(st.integers(2, 9), st.just(8), st.just(8)), elements=st.integers(1, 3)
    )
)
def test_of_a_tie_the_class_that_comes_first_is_first(told: np.ndarray) -> None:
    tile, classes = Window(0, 0, 8, 8), len(told)
    # No window overlaps another, and sums of powers of two do not round.
    blend = Blend(tile, classes, checked_lattice(8, 0))
    blend.add(tile, told.astype(np.float32) / 4, np.ones((8, 8), np.bool_))
    result = blend.result()
    order = np.argsort(-told, axis=0, kind="stable")
    assert np.array_equal(result.position, order[0])
    assert np.array_equal(result.second, order[1])


def test_a_tile_that_no_window_saw_has_no_probability() -> None:
    result = Blend(Window(3, 4, 5, 6), CLASSES, LATTICE).result()
    assert result.probability.shape == (5, 6)
    assert not result.probability.any()
    assert not result.is_seen.any()


def test_a_pixel_is_seen_where_one_window_saw_it() -> None:
    tile = Window(0, 0, 20, 20)
    windows = LATTICE.covering(tile, (0, 0))
    seen = np.zeros((20, 20), np.bool_)
    for window in windows:
        for y, x in zip(*np.nonzero(told_by(window, (0, 0))[1]), strict=True):
            row, column = window.y + int(y), window.x + int(x)
            if 0 <= row < 20 and 0 <= column < 20:
                seen[row, column] = True
    assert np.array_equal(blended(tile, (0, 0)).is_seen, seen)
