"""One file per satellite product; the file's name is the product's name."""

from sscl_geo import plugins
from sscl_geo.geo.sensor import Band, Sensor


def sensor_of(name: str) -> Sensor:
    """Return the sensor of a band by the band's name, such as `sentinel2_l2a:B02@1`."""
    sensor: Sensor = plugins.find("sscl_geo.sensors", name.partition(":")[0]).SENSOR
    return sensor


def band_of(name: str) -> Band:
    """Return a band by its name, such as `sentinel2_l2a:B02@1`."""
    return sensor_of(name).band(name.partition("@")[0].partition(":")[2])
