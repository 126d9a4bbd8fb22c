"""What a page can lay over another: the layers of what is shown, and their tiles."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from sscl_geo.geo.graticule import WebTile, zoom_of
from sscl_geo.io.layout import shape_of
from sscl_geo.io.maps import CONFIDENCE, LANDCOVER
from sscl_geo.io.views import View
from sscl_geo.ops.scaling import physical
from sscl_geo.stages.view.imagery import Imagery
from sscl_geo.stages.view.opening import Shown
from sscl_geo.stages.view.painting import classes_png, colour_png, levels_png, radar_png

THINNING = 10
"""Of a store's coarsest pixels, at least one in so many along a side is shown: a tile reads at
most 2560 x 2560 pixels. Farther out it has to be zoomed in, or the store to have coarser levels."""

SMALL_PX = 2560
"""A zone of no more pixels along a side is shown at any zoom."""

TILES_KEPT = 256

Paint = Callable[[Shaped[np.ndarray, "..."]], bytes]


class Layer(NamedTuple):
    """One layer.

    Attributes:
        id: Its name in addresses.
        view: Where it is read.
        paint: What makes PNG of it.
    """

    id: str
    view: View
    paint: Paint

    @property
    def least_zoom(self) -> int:
        """The smallest zoom of tiles that can be read."""
        zones = {grid: max(self.view.levels[grid.zone]) for grid in self.view.grids}
        large = [gsd for grid, gsd in zones.items() if max(shape_of(grid, gsd)) > SMALL_PX]
        return max((zoom_of(THINNING * gsd) for gsd in large), default=0)

    def tile(self, tile: WebTile) -> bytes:
        """Return a tile as PNG."""
        return self.paint(self.view.under(tile.graticule, tile.gsd))


def layers(shown: Shown) -> dict[str, Layer]:
    """Return all layers of a page by id: `landcover-0`, `confidence-1`, `imagery-3`, and so on."""
    return {layer.id: layer for layer in _layers(shown)}


def _layers(shown: Shown) -> Iterator[Layer]:
    for number, mapped in enumerate(shown.maps):
        paints: dict[str, Paint] = {
            LANDCOVER: partial(classes_png, legend=mapped.legend),
            CONFIDENCE: levels_png,
        }
        for name, paint in paints.items():
            if name in mapped.layers:
                yield Layer(f"{name}-{number}", mapped.layers[name], paint)
    for number, imagery in enumerate(shown.imagery):
        yield Layer(f"imagery-{number}", imagery.view, partial(_paint, imagery))


def _paint(imagery: Imagery, stored: Shaped[np.ndarray, "band y x"]) -> bytes:
    values = physical(stored, imagery.sensor)
    return radar_png(values) if imagery.sensor.kind == "sar" else colour_png(values)


def remembered(all_layers: dict[str, Layer]) -> Callable[[str, WebTile], bytes]:
    """Return what gives tiles by layer and place, and keeps the last ones."""

    @lru_cache(maxsize=TILES_KEPT)
    def tile(name: str, place: WebTile) -> bytes:
        return all_layers[name].tile(place)

    return tile
