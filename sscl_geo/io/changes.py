"""What a store of change holds: the change of each pixel and how sure it is; and its COG."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import UInt16

from sscl_geo.geo.grid import GSD, Grid, Window
from sscl_geo.geo.legend import UNLABELLED, LandClass, Legend
from sscl_geo.io.layout import (
    CONVENTIONS,
    FULL_CONFIDENCE,
    NO_CONFIDENCE,
    ArrayLayout,
    Attributes,
    Layout,
    coordinates,
    flag_meaning,
    georeference,
    raster,
)
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.maps import CONFIDENCE, layer_path, level_name
from sscl_geo.io.publish.cog import Palette, RasterProfile, write_cog_blocks
from sscl_geo.io.store import Store
from sscl_geo.ops.change import FROM

CHANGE: Final = "change"
_STAYED = (222, 220, 210)


def change_layout(grids: tuple[Grid, ...], legend: Legend, attributes: Attributes) -> Layout:
    """Return the layout: `change` (uint16) and `confidence` (uint8), placed as in a map."""
    groups: dict[str, Attributes] = {"": {"Conventions": CONVENTIONS, **attributes}}
    arrays: list[ArrayLayout] = []
    for grid in grids:
        path = f"{grid.zone}/{level_name(1)}"
        groups[grid.zone] = {"proj:code": grid.crs}
        groups[path] = georeference(grid, GSD)
        arrays += coordinates(path, grid, GSD)
        arrays.append(_layer(grid, CHANGE, change_flags(legend), 0)._replace(dtype="uint16"))
        sure = {
            "long_name": "probability that both classes are right, were their errors independent",
            "units": "1",
            "scale_factor": 1 / FULL_CONFIDENCE,
            "_FillValue": NO_CONFIDENCE,
        }
        arrays.append(_layer(grid, CONFIDENCE, sure, NO_CONFIDENCE))
    return Layout(groups, tuple(arrays))


def _layer(grid: Grid, name: str, attributes: Attributes, fill: int) -> ArrayLayout:
    return raster(layer_path(grid.zone, name), grid, GSD, grid.tile_px, attributes, fill)


def change_flags(legend: Legend) -> Attributes:
    """Return the CF attributes of an array of changes: a flag for each pair of classes."""
    values, meanings = [UNLABELLED], ["unmapped"]
    for before, after in pairs(legend):
        values.append(FROM * before.value + after.value)
        meanings.append(f"{flag_meaning(before.name)}_to_{flag_meaning(after.name)}")
    return {
        "long_name": f"change of land cover, legend {legend.name}: {FROM} x class before + after",
        "flag_values": values,
        "flag_meanings": " ".join(meanings),
    }


def pairs(legend: Legend) -> Iterator[tuple[LandClass, LandClass]]:
    """Yield each pair of a class before and a class after."""
    for before in legend.classes:
        for after in legend.classes:
            yield before, after


def publish_change(place: AnyLocation, store: Store, grid: Grid, legend: Legend) -> None:
    """Write a zone's change as a COG: what changed in the colour of the new class, else grey."""
    with location(place).new_file() as path:
        write_cog_blocks(
            path,
            _tiles(store, grid),
            grid.block(Window(0, 0, *grid.shape)),
            profile=RasterProfile("uint16", UNLABELLED, overviews="mode"),
            palette=_palette(legend),
        )


def _palette(legend: Legend) -> Palette:
    colors, names = {}, {}
    for before, after in pairs(legend):
        code = FROM * before.value + after.value
        stayed = before == after
        colors[code] = _STAYED if stayed else after.rgb
        names[code] = f"{before.name} stayed" if stayed else f"{before.name} to {after.name}"
    return Palette(colors, names)


def _tiles(store: Store, grid: Grid) -> Iterator[tuple[Window, UInt16[np.ndarray, "y x"]]]:
    for tile in grid.tiles:
        window = grid.window(tile)
        yield window, store.read(layer_path(grid.zone, CHANGE), (), window)
