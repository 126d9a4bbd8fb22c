"""What a user asks of ingest, and the units that it becomes."""

from datetime import date
from typing import Literal

from pydantic import Field

from sscl_geo.frozen import Frozen
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Tile, Window
from sscl_geo.geo.scene import Scene
from sscl_geo.io.profile import Source
from sscl_geo.ops.masks import MaskSpec
from sscl_geo.ops.swath import SwathSpec

DAILY = "day"
"""The period of a cube that keeps every solar day unmasked, with its mask beside it."""

TOLERANCE = {"method": {"max_unreadable"}}
"""What a plan leaves out, so that a cube that was begun can be finished with more; each tile tells
what it was made without."""


class Tolerance(Frozen):
    """What the last command on a cube let pass, for `repair`.

    Attributes:
        max_unreadable: As of `Method`.
    """

    max_unreadable: int = Field(default=0, ge=0)


class Method(Frozen):
    """How the scenes of a period become a composite.

    Attributes:
        compositor: Name of the compositor plugin for optical bands.
        mask: What hides the ground from optical sensors.
        swath: How the edges of radar swaths are cleaned.
        orbit: Orbit direction of radar scenes; `auto` takes the one that covers a tile best.
        max_unreadable: How many scenes of a unit may be left out because they cannot be read.
    """

    compositor: str = "median"
    mask: MaskSpec = MaskSpec()
    swath: SwathSpec = SwathSpec()
    orbit: Literal["auto", "ascending", "descending"] = "auto"
    max_unreadable: int = Field(default=0, ge=0)


class IngestRequest(Frozen):
    """What a user asks for; equal requests over equal scenes make equal cubes.

    Attributes:
        source: The catalogue.
        area: The ground wanted.
        datetime: `A/B`, first and last day.
        period: ISO 8601 duration of a composite, or `day`.
        sensors: Names of sensor plugins; all that the catalogue has if empty.
        grid: `auto` for UTM, or a projected CRS in metres.
        tile_px: Side of a tile at 10 m.
        max_cloud: Percent of clouds, by the catalogue, above which an optical scene is left out.
        ask_pixels: Whether pixels must confirm the DN convention that metadata tell.
        method: How scenes become composites.
    """

    source: Source
    area: Area
    datetime: str
    period: str = "P3M"
    sensors: tuple[str, ...] = ()
    grid: str = "auto"
    tile_px: int = 2048
    max_cloud: float = Field(default=100, ge=0, le=100)
    ask_pixels: bool = True
    method: Method = Method()


class IngestUnit(Frozen):
    """One tile over one period, and the scenes that see it.

    Attributes:
        tile: The tile.
        window: Its pixels at 10 m.
        time: Index of the period.
        start: First day of the period.
        end: Day after its last.
        box: The tile's box in degrees.
        scenes: By time and id.
    """

    tile: Tile
    window: Window
    time: int
    start: date
    end: date
    box: BBox
    scenes: tuple[Scene, ...]

    @property
    def key(self) -> str:
        """Tile and first day of the period."""
        return f"{self.tile.key}/{self.start.isoformat()}"
