"""What a map's last command writes once all tiles are there."""

from collections.abc import Sequence

from pydantic import JsonValue

from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.io.maps import finish_levels, write_coverage
from sscl_geo.io.publish.classes import publish_landcover
from sscl_geo.io.publish.cog import cog_path
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table


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
        publish_landcover(cog_path(store.path, grid, grids), store, grid, legend)
    store.put(TILES, records_table(records))
