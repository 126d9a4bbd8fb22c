"""Pieces of a map: pixels of one class that share edges, joined across tiles, small ones merged.

Nothing depends on how the map is tiled: pieces are numbered by their first pixel, row by row over
the whole grid, and every choice between equals falls on the lower number.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from scipy.ndimage import label as connected
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Numbers = Int64[np.ndarray, " _"]
Pairs = Int64[np.ndarray, "_ 2"]

_BITS = 31
_NONE = 1 << _BITS
"""Pieces of a grid are numbered below this."""


class Part(NamedTuple):
    """The pieces of one tile, numbered from 1 on within it.

    Attributes:
        row: Row of the tile in its grid.
        column: Column of the tile.
        value: Class of each piece.
        size: Its pixels.
        first: Its first pixel, counted row by row over the whole grid.
        borders: Pairs of pieces that share pixel edges, once for each edge.
        sides: Numbers of the pixels along the top, left, bottom and right.
    """

    row: int
    column: int
    value: UInt8[np.ndarray, " pieces"]
    size: Int64[np.ndarray, " pieces"]
    first: Int64[np.ndarray, " pieces"]
    borders: Pairs
    sides: tuple[Numbers, Numbers, Numbers, Numbers]


class Graph(NamedTuple):
    """Pieces of a grid, numbered from 0 on by their first pixel, and the borders between them.

    Attributes:
        value: Class of each piece.
        size: Its pixels.
        borders: Pairs of pieces, each once, the lower number first.
        length: Pixel edges of each border.
    """

    value: UInt8[np.ndarray, " pieces"]
    size: Int64[np.ndarray, " pieces"]
    borders: Int64[np.ndarray, "borders 2"]
    length: Int64[np.ndarray, " borders"]


def numbered(classes: UInt8[np.ndarray, "y x"]) -> Int32[np.ndarray, "y x"]:
    """Return the piece of each pixel, from 1 on; 0 where there is no class."""
    pieces = np.zeros(classes.shape, np.int32)
    count = 0
    for value in np.unique(classes):
        if value:
            found, more = connected(classes == value)
            np.copyto(pieces, found + np.int32(count), where=found > 0)
            count += more
    return pieces


def part_of(
    classes: UInt8[np.ndarray, "y x"], place: tuple[int, int], corner: tuple[int, int], width: int
) -> Part:
    """Return the pieces of a tile.

    Args:
        classes: Its class values, 0 for none.
        place: Its row and column in the grid.
        corner: Row and column of its first pixel.
        width: Number of pixel columns of the grid.
    """
    pieces = numbered(classes)
    numbers, places, sizes = np.unique(pieces, return_index=True, return_counts=True)
    known = numbers > 0
    y, x = np.divmod(places[known], classes.shape[1])
    return Part(
        *place,
        value=classes.ravel()[places[known]],
        size=sizes[known].astype(np.int64),
        first=((y + corner[0]) * width + x + corner[1]).astype(np.int64),
        borders=np.concatenate(
            [
                _across(pieces[:-1].ravel(), pieces[1:].ravel()),
                _across(pieces[:, :-1].ravel(), pieces[:, 1:].ravel()),
            ]
        ),
        sides=(
            pieces[0].astype(np.int64),
            pieces[:, 0].astype(np.int64),
            pieces[-1].astype(np.int64),
            pieces[:, -1].astype(np.int64),
        ),
    )


def _across(one: np.ndarray, other: np.ndarray) -> Pairs:
    is_border = (one != other) & (one > 0) & (other > 0)
    return np.stack([one[is_border], other[is_border]], axis=1).astype(np.int64)


def stitched(parts: Iterable[Part]) -> tuple[Graph, Numbers]:
    """Join the tiles of a grid, given row by row.

    Returns:
        The graph, and the number in it of each piece of each tile, in the order of the tiles.
    """
    values, sizes, firsts, borders = [], [], [], []
    bottoms: dict[tuple[int, int], Numbers] = {}
    right: tuple[int, int, Numbers] = (-1, -1, np.zeros(0, np.int64))
    offset = 0
    for part in parts:
        top, left, bottom, last = (np.where(side > 0, side + offset, 0) for side in part.sides)
        values.append(part.value)
        sizes.append(part.size)
        firsts.append(part.first)
        borders.append(_counted(part.borders + offset))
        above = bottoms.pop((part.row - 1, part.column), None)
        if above is not None:
            borders.append(_counted(_across(above, top)))
        if right[:2] == (part.row, part.column - 1):
            borders.append(_counted(_across(right[2], left)))
        bottoms[part.row, part.column] = bottom
        right = part.row, part.column, last
        offset += len(part.value)
    return _numbered_by_first(
        np.concatenate([np.zeros(0, np.uint8), *values]),
        np.concatenate([np.zeros(0, np.int64), *sizes]),
        np.concatenate([np.zeros(0, np.int64), *firsts]),
        np.concatenate([np.zeros((0, 3), np.int64), *borders]),
    )


def _counted(pairs: Pairs) -> Int64[np.ndarray, "_ 3"]:
    """Return each pair once, the lower number first, and how often it occurs; from 0 on."""
    borders, length = _added_up(pairs - 1, np.ones(len(pairs), np.int64))
    return np.concatenate([borders, length[:, None]], axis=1)


def _added_up(pairs: Pairs, length: Numbers) -> tuple[Pairs, Numbers]:
    """Return each pair once, the lower number first, with the sum of its lengths."""
    low, high = pairs.min(axis=1, initial=_NONE), pairs.max(axis=1, initial=0)
    # One number for a pair sorts ten times faster than two.
    keys, place = np.unique(low << _BITS | high, return_inverse=True)
    sums = np.bincount(place, length, len(keys)).astype(np.int64)
    return np.stack([keys >> _BITS, keys & (1 << _BITS) - 1], axis=1), sums


def _numbered_by_first(
    value: UInt8[np.ndarray, " pieces"],
    size: Int64[np.ndarray, " pieces"],
    first: Int64[np.ndarray, " pieces"],
    borders: Int64[np.ndarray, "_ 3"],
) -> tuple[Graph, Numbers]:
    """Join pieces of one class that touch across tiles."""
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    graph = Graph(value[order], size[order], rank[borders[:, :2]], borders[:, 2])
    joined, number = _joined(graph)
    return joined, number[rank]


def _joined(graph: Graph) -> tuple[Graph, Numbers]:
    """Join neighbours of one class; return the graph of what became of them, and their numbers."""
    count = len(graph.value)
    one, other = graph.borders.T
    alike = graph.value[one] == graph.value[other]
    links = coo_array((np.ones(alike.sum(), np.bool_), (one[alike], other[alike])), (count, count))
    _, group = connected_components(links, directed=False)
    _, first, number = np.unique(_lowest(group), return_index=True, return_inverse=True)
    borders, length = _added_up(number[graph.borders[~alike]], graph.length[~alike])
    size = np.bincount(number, graph.size, len(first)).astype(np.int64)
    return Graph(graph.value[first], size, borders, length), number.astype(np.int64)


def _lowest(group: np.ndarray) -> Numbers:
    """Return the lowest number in the group of each piece."""
    lowest = np.full(int(group.max(initial=-1)) + 1, len(group), np.int64)
    np.minimum.at(lowest, group, np.arange(len(group)))
    return np.asarray(lowest[group])


def merged(graph: Graph, fewest_px: int) -> tuple[Graph, Numbers]:
    """Give pieces with fewer pixels to the neighbour with the longest border, the smallest first.

    Of borders of equal length the one with the larger neighbour counts. What a piece joins takes
    it as its own, and all pieces of its class that it then touches: each new piece is large enough,
    or has no neighbour, such as an island in ground that is not mapped.

    Returns:
        The graph of what is left, and the number in it of each old piece.
    """
    total = np.arange(len(graph.value))
    while True:
        chosen, into = _smallest(graph, fewest_px)
        if not len(chosen):
            return graph, total
        value = graph.value.copy()
        value[chosen] = graph.value[into]
        graph, number = _joined(graph._replace(value=value))
        total = number[total]


def _smallest(graph: Graph, fewest_px: int) -> tuple[Numbers, Numbers]:
    """Return the small pieces that are smaller than all their neighbours, and what they join."""
    pairs = np.concatenate([graph.borders, graph.borders[:, ::-1]])
    length = np.concatenate([graph.length, graph.length])
    is_small = graph.size < fewest_px
    pairs, length = pairs[is_small[pairs[:, 0]]], length[is_small[pairs[:, 0]]]
    source, target = pairs.T
    later = (graph.size[source] > graph.size[target]) | (
        (graph.size[source] == graph.size[target]) & (source > target)
    )
    waits = np.zeros(len(graph.value), np.bool_)
    waits[source[later]] = True
    moves = ~waits[source]
    source, target, length = source[moves], target[moves], length[moves]
    order = np.lexsort((target, -graph.size[target], -length, source))
    chosen, places = np.unique(source[order], return_index=True)
    return chosen, target[order][places]
