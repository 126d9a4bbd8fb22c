"""What a cube holds: grids, periods and sensors."""

from sscl_geo.frozen import Frozen
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.period import Period
from sscl_geo.geo.sensor import GROUP_GSD, Band, Sensor


class CubeSpec(Frozen):
    """The schema of a cube; one group per grid, in each the arrays of every sensor."""

    grids: tuple[Grid, ...]
    periods: tuple[Period, ...]
    sensors: tuple[Sensor, ...]

    def grid(self, zone: str) -> Grid:
        """Return the grid of a zone."""
        return next(grid for grid in self.grids if grid.zone == zone)


class BandSource(Frozen):
    """Where a band of a cube is: its array and its place in it.

    Attributes:
        sensor: Name of the sensor plugin.
        array: Path of the array below a zone's group, such as `r20m/s2`.
        index: Position on the array's band axis.
        band: The band.
    """

    sensor: str
    array: str
    index: int
    band: Band

    @property
    def name(self) -> str:
        """Name by which models match a band: sensor and band, such as `sentinel2_l2a:B02`."""
        return f"{self.sensor}:{self.band.name}"

    @property
    def gsd(self) -> int:
        """Ground sampling distance of the array in metres."""
        return GROUP_GSD[self.array.split("/")[0]]


def band_sources(sensors: tuple[Sensor, ...]) -> tuple[BandSource, ...]:
    """Return every band of a cube, sensor by sensor, in stored order."""
    return tuple(
        BandSource(sensor=sensor.name, array=f"{group}/{sensor.array}", index=index, band=band)
        for sensor in sensors
        for group, bands in sensor.groups.items()
        for index, band in enumerate(bands)
    )
