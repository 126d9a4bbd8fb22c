"""One file per satellite product; the file's name is the product's name."""

from collections.abc import Iterable

from sscl_geo import plugins
from sscl_geo.geo.cube import BandSource
from sscl_geo.geo.sensor import Band, Sensor


def sensor_of(name: str) -> Sensor:
    """Return a sensor by its name, or by that of a band, such as `sentinel2_l2a:B02@1`.

    Raises:
        InvalidInputError: There is no such sensor.
    """
    sensor: Sensor = plugins.find("sscl_geo.sensors", name.partition(":")[0]).SENSOR
    return sensor


def band_of(name: str) -> Band:
    """Return a band by its name, such as `sentinel2_l2a:B02@1`."""
    return sensor_of(name).band(name.partition("@")[0].partition(":")[2])


def nodata_of(bands: Iterable[BandSource]) -> dict[str, int]:
    """Return the stored value of no observation of each array, by the key of its place."""
    return {band.place.key: sensor_of(band.name).nodata for band in bands}
