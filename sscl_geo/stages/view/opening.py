"""What a page shows: maps, and the imagery of a cube."""

from collections.abc import Sequence
from typing import NamedTuple

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox, hull, meet
from sscl_geo.geo.grid import GSD, Grid
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.cubes import Cube, GridsOf
from sscl_geo.io.journal import journal
from sscl_geo.io.layout import NO_CONFIDENCE
from sscl_geo.io.location import Location
from sscl_geo.io.maps import (
    CONFIDENCE,
    COUNTS,
    LANDCOVER,
    MARGIN,
    PROBABILITY,
    SECOND,
    TILE_FACTORS,
    factors,
    level_name,
)
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES
from sscl_geo.io.views import View, extent
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.stages.view.credit import credit
from sscl_geo.stages.view.imagery import Imagery, imagery_of, own_cube


class ViewRequest(Frozen):
    """What to look at.

    Attributes:
        map: The map.
        other: A second map to compare it with.
        cube: Imagery to show below; None takes the map's own cube, if it is where the map says.
        attribution: Line of credit; None lets the map's metadata decide.
    """

    map: Location
    other: Location | None = None
    cube: Location | None = None
    attribution: str | None = None


class ShownMap(NamedTuple):
    """A map that is looked at.

    Attributes:
        name: Its name.
        store: Its store.
        legend: Its legend.
        layers: Its layers, by name.
        box: A box in degrees around its tiles.
        missing: Number of its tiles that are still to be mapped.
    """

    name: str
    store: Store
    legend: Legend
    layers: dict[str, View]
    box: BBox
    missing: int


class Shown(NamedTuple):
    """All that a page shows."""

    maps: tuple[ShownMap, ...]
    imagery: tuple[Imagery, ...]
    attribution: str
    notes: tuple[str, ...]

    @property
    def box(self) -> BBox:
        """A box in degrees around all maps."""
        return hull([shown.box for shown in self.maps])

    @property
    def is_final(self) -> bool:
        """Whether no map will change any more."""
        return not any(shown.missing for shown in self.maps)


def opened(request: ViewRequest) -> Shown:
    """Open what a page shows.

    Raises:
        InvalidInputError: A path is no map, or `cube` no finished cube, or they lie apart.
    """
    places = [request.map] if request.other is None else [request.map, request.other]
    maps = tuple(
        _opened_map(place, name) for place, name in zip(places, _names(places), strict=True)
    )
    _check_overlap(maps[0].box, maps[-1].box, f"--map {request.other}", request.map)
    cube, note = _cube(request, maps[0])
    plans = [shown.store.plan for shown in maps]
    told = credit(plans) if request.attribution is None else request.attribution
    unfinished = [
        f"{shown.name} is unfinished: {shown.missing} of its tiles are still to be mapped"
        for shown in maps
        if shown.missing
    ]
    imagery = () if cube is None else tuple(imagery_of(cube))
    return Shown(maps, imagery, told, (*unfinished, *([note] if note else [])))


def _cube(request: ViewRequest, mapped: ShownMap) -> tuple[Cube | None, str]:
    if request.cube is None:
        return own_cube(request.map, mapped.store.plan)
    cube = Cube.open(request.cube)
    box = extent(cube.spec.grids)
    _check_overlap(mapped.box, box, f"--cube {request.cube}", request.map)
    return cube, ""


def _names(places: Sequence[Location]) -> list[str]:
    """Return names that tell maps apart."""
    stems = [place.stem for place in places]
    if len({*stems}) == len(stems):
        return stems
    return [f"{place.resolve().parent.name}/{place.stem}" for place in places]


def _opened_map(place: Location, name: str) -> ShownMap:
    store = Store.open(place, "map")
    grids: tuple[Grid, ...] = store.kept("grids", GridsOf.validate_python)
    legend = store.kept("legend", Legend.model_validate)
    known = store.names(f"{grids[0].zone}/{level_name(1)}")
    if LANDCOVER not in known:
        raise InvalidInputError(
            f"{place} was made by an older version of this package; map the cube again"
        )
    is_finished = (place / TILES).exists()
    levels = {grid.zone: _levels(store, grid, is_finished) for grid in grids}
    layers = {each: _layer(store, grids, levels, each) for each in known if _is_known(each)}
    missing = 0 if is_finished else _missing(place, grids)
    return ShownMap(name, store, legend, layers, extent(grids), missing)


def _is_known(name: str) -> bool:
    known = {LANDCOVER, CONFIDENCE, SECOND, MARGIN, PROBABILITY}
    return name in known or name.startswith(COUNTS)


def _levels(store: Store, grid: Grid, is_finished: bool) -> tuple[int, ...]:
    # Levels that no tile holds whole are the last thing that a map gets.
    mine = (1, *(factors(grid) if is_finished else TILE_FACTORS))
    there = [f for f in mine if LANDCOVER in store.names(f"{grid.zone}/{level_name(f)}")]
    return tuple(GSD * factor for factor in there)


def _layer(
    store: Store, grids: tuple[Grid, ...], levels: dict[str, tuple[int, ...]], name: str
) -> View:
    has_levels = name in {LANDCOVER, CONFIDENCE}
    mine = levels if has_levels else {grid.zone: (GSD,) for grid in grids}
    is_class = name in {LANDCOVER, SECOND} or name.startswith(COUNTS)
    return View(store, grids, mine, name, UNLABELLED if is_class else NO_CONFIDENCE)


def _missing(place: Location, grids: tuple[Grid, ...]) -> int:
    planned = {tile.key for grid in grids for tile in grid.tiles}
    # The last tile may be there, and what a map gets after it not yet.
    return max(1, len(planned - Ledger(journal(place)).finished))


def _check_overlap(one: BBox, other: BBox, name: str, place: Location) -> None:
    if not meet(one, other):
        raise InvalidInputError(
            f"{name} and {place} have no ground in common; give two of the same place"
        )
