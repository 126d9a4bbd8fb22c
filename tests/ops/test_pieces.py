"""Pieces: the tiles do not show, nothing small is left, and nothing large is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from sscl_geo.ops.pieces import Graph, merged, numbered, part_of, stitched

IMAGES = arrays(
    np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 3)
)


def of_tiles(image: np.ndarray, side: int) -> tuple[Graph, np.ndarray]:
    """Return the graph of an image in tiles, and the piece of each pixel, -1 for none."""
    corners = [
        (y, x) for y in range(0, image.shape[0], side) for x in range(0, image.shape[1], side)
    ]
    tiles = [image[y : y + side, x : x + side] for y, x in corners]
    parts = [
        part_of(tile, (y // side, x // side), (y, x), image.shape[1])
        for tile, (y, x) in zip(tiles, corners, strict=True)
    ]
    graph, number = stitched(parts)
    pieces, offset = np.full(image.shape, -1, np.int64), 0
    for tile, (y, x), part in zip(tiles, corners, parts, strict=True):
        local = numbered(tile)
        known = local > 0
        pieces[y : y + side, x : x + side][known] = number[local[known] - 1 + offset]
        offset += len(part.value)
    return graph, pieces


def expected(image: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """Return pieces and their borders by loops, numbered by first pixel."""
    pieces = np.full(image.shape, -1, np.int64)
    count = 0
    for y, x in np.argwhere(image > 0):
        if pieces[y, x] < 0:
            found, _ = label(image == image[y, x])
            pieces[found == found[y, x]] = count
            count += 1
    borders: dict[tuple[int, int], int] = {}
    for y, x in np.argwhere(pieces >= 0):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < image.shape[0] and other[1] < image.shape[1]:
                low, high = sorted((int(pieces[y, x]), int(pieces[other])))
                if 0 <= low < high:
                    borders[low, high] = borders.get((low, high), 0) + 1
    return pieces, borders


@given(IMAGES, st.integers(1, 24))
def test_pieces_and_borders_are_those_of_the_whole(image: np.ndarray, side: int) -> None:
    graph, pieces = of_tiles(image, side)
    whole, borders = expected(image)
    assert np.array_equal(pieces, whole)
    assert {
        tuple(p): n for p, n in zip(graph.borders.tolist(), graph.length.tolist(), strict=True)
    } == borders
    assert graph.size.tolist() == np.bincount(whole[whole >= 0]).tolist()
    assert all((image[whole == n] == value).all() for n, value in enumerate(graph.value))


@given(IMAGES, st.integers(1, 24), st.integers(1, 30))
def test_merging_does_not_know_the_tiles(image: np.ndarray, side: int, fewest: int) -> None:
    results = []
    for tile in (side, 24):
        graph, pieces = of_tiles(image, tile)
        left, number = merged(graph, fewest)
        assert left.size.sum() == (image > 0).sum()
        results.append((left, number[pieces[pieces >= 0]]))
    (one, mine), (two, theirs) = results
    assert np.array_equal(mine, theirs)
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


@given(IMAGES, st.integers(1, 60))
def test_what_is_left_is_large_or_has_no_neighbour(image: np.ndarray, fewest: int) -> None:
    graph, pieces = of_tiles(image, 8)
    left, number = merged(graph, fewest)
    has_neighbour = np.isin(np.arange(len(left.value)), left.borders)
    assert (left.size[has_neighbour] >= fewest).all()
    # What is left are pieces of one class: no two that touch are alike.
    assert (left.value[left.borders[:, 0]] != left.value[left.borders[:, 1]]).all()
    classes = np.zeros(image.shape, np.uint8)
    classes[pieces >= 0] = left.value[number[pieces[pieces >= 0]]]
    again, _ = of_tiles(classes, 24)
    assert sorted(again.size.tolist()) == sorted(left.size.tolist())


@given(IMAGES)
def test_without_a_limit_nothing_changes(image: np.ndarray) -> None:
    graph, _ = of_tiles(image, 7)
    left, number = merged(graph, 1)
    assert np.array_equal(number, np.arange(len(graph.value)))
    assert np.array_equal(left.size, graph.size)


@pytest.mark.parametrize(
    ("drawn", "becomes"),
    [
        # The longest border wins, not the largest neighbour.
        (["1111222", "1113222", "1113222", "1113333"], None),
        (["11111", "11211", "11111"], ["11111", "11111", "11111"]),
        # A small piece that grew by a smaller one stays.
        (["11111", "11122", "11223"], ["11111", "11122", "11222"]),
        # An island in ground without a class stays, too.
        (["1100000", "1100020", "1100000"], ["1100000", "1100020", "1100000"]),
    ],
)
def test_examples(drawn: list[str], becomes: list[str] | None) -> None:
    image = np.array([[int(c) for c in row] for row in drawn], np.uint8)
    graph, pieces = of_tiles(image, 3)
    left, number = merged(graph, 5)
    classes = np.zeros(image.shape, np.uint8)
    classes[pieces >= 0] = left.value[number[pieces[pieces >= 0]]]
    wanted = image if becomes is None else np.array([[int(c) for c in row] for row in becomes])
    assert np.array_equal(classes, wanted)
