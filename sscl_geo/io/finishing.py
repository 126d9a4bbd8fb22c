"""How a map begins, and what its last command writes once all tiles are there."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.disk import writing_beside
from sscl_geo.io.layout import Layout
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.maps import finish_levels, write_coverage
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.publish.classes import publish_landcover
from sscl_geo.io.publish.cog import cog_path, cog_paths
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table


def begin_map(
    out: AnyLocation,
    plan: Plan,
    layout: Layout,
    tables: Mapping[str, bytes],
    grids: tuple[Grid, ...],
    beside: Iterable[Location] = (),
) -> Store:
    """Open the map, or change of maps, that the same plan began, or create it.

    Args:
        out: Its path.
        plan: Its plan.
        layout: Its groups and arrays.
        tables: Documents beside the arrays, by file name.
        grids: Its grids, for each of which a COG will stand beside it.
        beside: What else will.

    Raises:
        InvalidInputError: The path has no place beside it, or something else stands there.
        PlanConflictError: Another command made, or is making, a store there.
    """
    if read_plan(out) is None:
        check_free(out, grids, beside)
    return Store.begun(out, plan, layout, tables)


def check_free(out: AnyLocation, grids: tuple[Grid, ...], beside: Iterable[Location] = ()) -> None:
    """Check that nothing beside a new map would be replaced.

    Raises:
        InvalidInputError: The path has no place beside it, or a file stands there.
    """
    check_name(out)
    for file in (*cog_paths(out, grids), *beside):
        if file.exists():
            raise InvalidInputError(
                f"{file} exists and would be replaced; move it, or choose another --out"
            )


def check_name(out: AnyLocation) -> None:
    """Check that a map's path ends in `.zarr`, so that files of its name can stand beside it.

    Raises:
        InvalidInputError: It does not.
    """
    if out.suffix != ".zarr":
        raise InvalidInputError(
            f"--out {out}: must end in .zarr, so that files of its name, such as its COG, can "
            "stand beside it"
        )


def finishing(store: Store, files: Iterable[Location]) -> AbstractContextManager[None]:
    """Return what holds a store while files beside it are written, as `writing_beside` says."""
    if not store.path.is_local:
        return nullcontext()
    return writing_beside(Path(store.path.key), [Path(file.key) for file in files])


def finish_map(
    store: Store,
    grids: tuple[Grid, ...],
    legend: Legend,
    records: Sequence[dict[str, JsonValue]],
) -> None:
    """Write the coarser levels, the coverage, a COG of each zone, and the table of tiles.

    Args:
        store: The map.
        grids: Its grids.
        legend: Its legend.
        records: The key and status of each tile's unit, and what it told, as rows of the table.
    """
    states = {str(record["key"]): str(record["status"]) for record in records}
    for grid in grids:
        finish_levels(store, grid)
        write_coverage(store, grid, states)
    with finishing(store, cog_paths(store.path, grids)):
        for grid in grids:
            publish_landcover(cog_path(store.path, grid, grids), store, grid, legend)
    store.put(TILES, records_table(records))
