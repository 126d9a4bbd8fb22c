"""Sentinel-1 IW GRD after a speckle filter, beside the unfiltered pixels in stores of chips."""

from sscl_geo.geo.sensor import Band, Sensor

SENSOR = Sensor(
    name="sentinel1_grd_despeckled",
    array="s1_grd_dspk",
    quantity="sigma_nought_ellipsoid",
    units="dB",
    kind="sar",
    bands=(Band(name="VV", gsd=10), Band(name="VH", gsd=10)),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    offset=0.0,
)
