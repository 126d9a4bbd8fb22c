"""Chips: patches without a common grid, such as those of a benchmark."""

from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import BandSource, Place
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.sensor import Sensor


class ChipsSpec(Frozen):
    """The schema of a store of chips: one array `(sample, band, y, x)` a sensor.

    Attributes:
        sensors: The sensors, with the bands that the chips have.
        count: Number of chips.
        side: Side of a chip in pixels.
        gsd: Ground sampling distance of all arrays in metres.
        legend: Classes of the labels; None for unlabelled chips.
    """

    sensors: tuple[Sensor, ...]
    count: int
    side: int
    gsd: int
    legend: Legend | None = None

    @property
    def bands(self) -> tuple[BandSource, ...]:
        """Every band, in stored order."""
        return tuple(
            BandSource(sensor=sensor.name, place=Place(sensor.array, 0), index=index, band=band)
            for sensor in self.sensors
            for index, band in enumerate(sensor.bands)
        )


class Chip(Frozen):
    """What is known of a chip next to its pixels.

    Attributes:
        id: Its name in the set.
        place: What it shares with other chips of the same ground; splits by it do not leak.
        part: The part of the set that its makers put it in.
    """

    id: str
    place: str
    part: str
