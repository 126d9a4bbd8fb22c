"""Sentinel-1 IW, radiometrically terrain corrected: gamma nought, stored in hundredths of a dB."""

from sscl_geo.geo.sensor import Band, Sensor

SENSOR = Sensor(
    name="sentinel1_rtc",
    array="s1",
    quantity="gamma_nought_terrain_flattened",
    units="dB",
    kind="sar",
    bands=(Band(name="VV", gsd=10), Band(name="VH", gsd=10)),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    offset=0.0,
    product_types=("RTC", "rtc"),
)
