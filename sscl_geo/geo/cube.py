"""What a cube holds: grids, periods and sensors."""

from typing import NamedTuple

from pydantic import JsonValue

from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.period import Period
from sscl_geo.geo.sensor import GROUP_GSD, Band, Sensor


class CubeSpec(Frozen):
    """The schema of a cube; one group per grid, in each the arrays of every sensor.

    Attributes:
        grids: Its grids, one a zone.
        periods: Its periods, ascending.
        sensors: Its sensors, with the bands that it has.
        is_daily: Whether each period is one solar day, kept unmasked with its mask beside it.
    """

    grids: tuple[Grid, ...]
    periods: tuple[Period, ...]
    sensors: tuple[Sensor, ...]
    is_daily: bool = False

    @property
    def provenance(self) -> dict[str, JsonValue]:
        """What a map of it says of its imagery: sensors, first day, and the day after the last."""
        return {
            "sensors": [sensor.name for sensor in self.sensors],
            "interval": {
                "start": min(period.start for period in self.periods).isoformat(),
                "end": max(period.end for period in self.periods).isoformat(),
            },
        }

    def grid(self, zone: str) -> Grid:
        """Return the grid of a zone."""
        return next(grid for grid in self.grids if grid.zone == zone)


class Place(NamedTuple):
    """One period of an array, as a sample sees it.

    Attributes:
        array: Path of the array below a cube's zone, such as `r20m/s2`, or its name in chips.
        later: How many periods after the sample's first.
    """

    array: str
    later: int

    @property
    def key(self) -> str:
        """The place as text: the array, and `@later` behind it where that is not 0."""
        return f"{self.array}@{self.later}" if self.later else self.array

    @property
    def gsd(self) -> int:
        """Ground sampling distance in metres of an array of a cube."""
        return GROUP_GSD[self.array.split("/")[0]]

    @classmethod
    def of(cls, key: str) -> "Place":
        """Return the place that a key names."""
        array, _, later = key.partition("@")
        return cls(array, int(later or 0))


class BandSource(Frozen):
    """Where a band of a sample is: its array, its period, and its position on the band axis.

    Attributes:
        sensor: Name of the sensor plugin.
        place: The array and period.
        index: Position on the array's band axis.
        band: The band.
    """

    sensor: str
    place: Place
    index: int
    band: Band

    @property
    def name(self) -> str:
        """Name by which models match a band, such as `sentinel2_l2a:B02`.

        In a later period than a sample's first, `@1` and so on stands behind it.
        """
        return Place(f"{self.sensor}:{self.band.name}", self.place.later).key


def band_sources(sensors: tuple[Sensor, ...], periods: int = 1) -> tuple[BandSource, ...]:
    """Return every band of a sample of consecutive periods, in time and then in stored order."""
    return tuple(
        BandSource(
            sensor=sensor.name,
            place=Place(f"{group}/{sensor.array}", later),
            index=index,
            band=band,
        )
        for later in range(periods)
        for sensor in sensors
        for group, bands in sensor.groups.items()
        for index, band in enumerate(bands)
    )
