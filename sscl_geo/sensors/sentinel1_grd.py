"""Sentinel-1 IW GRD, calibrated and geocoded by its provider: not gamma nought of RTC.

For catalogues whose profile vouches that the pixels are calibrated linear power on a map grid. It
has an array of its own, so that a cube or a model never mixes it with terrain-corrected gamma
nought.
"""

from sscl_geo.geo.sensor import Band, Sensor

SENSOR = Sensor(
    name="sentinel1_grd",
    array="s1_grd",
    quantity="sigma_nought_ellipsoid",
    units="dB",
    kind="sar",
    bands=(Band(name="VV", gsd=10), Band(name="VH", gsd=10)),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    offset=0.0,
    product_types=("GRD", "grd"),
)
