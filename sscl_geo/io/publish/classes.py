"""A map's classes as a COG with colours and names."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.maps import LANDCOVER, layer_path
from sscl_geo.io.publish.cog import Palette, RasterProfile, write_cog_blocks
from sscl_geo.io.store import Store


def publish_landcover(place: AnyLocation, store: Store, grid: Grid, legend: Legend) -> None:
    """Write a zone's `landcover` as a COG; overviews take the most frequent class."""
    with location(place).new_file() as path:
        write_cog_blocks(
            path,
            _tiles(store, grid),
            grid.block(Window(0, 0, *grid.shape)),
            profile=RasterProfile("uint8", UNLABELLED, overviews="mode"),
            palette=legend_palette(legend),
        )


def legend_palette(legend: Legend) -> Palette:
    """Return the colours and names of a legend's values."""
    return Palette(
        {item.value: item.rgb for item in legend.classes},
        {item.value: item.name for item in legend.classes},
    )


def _tiles(store: Store, grid: Grid) -> Iterator[tuple[Window, UInt8[np.ndarray, "y x"]]]:
    for tile in grid.tiles:
        window = grid.window(tile)
        yield window, store.read(layer_path(grid.zone, LANDCOVER), (), window)
