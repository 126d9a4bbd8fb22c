"""Harmonized Landsat Sentinel-2, its Landsat part, as canonical DN = reflectance x 10000 + 1000.

The canonical numbers are those of our Sentinel-2, so that no dark pixel becomes nodata. Band names
and wavelengths: HLS Product User Guide v2.0, Landsat 8/9 OLI. Used as chips; there is no catalogue
road for it.
"""

from sscl_geo.geo.sensor import Band, Sensor

SENSOR = Sensor(
    name="hls_l30",
    array="hls",
    quantity="surface_bidirectional_reflectance",
    units="1",
    kind="optical",
    bands=(
        Band(name="B01", gsd=30, common_name="coastal", wavelength_nm=443),
        Band(name="B02", gsd=30, common_name="blue", wavelength_nm=482),
        Band(name="B03", gsd=30, common_name="green", wavelength_nm=561.5),
        Band(name="B04", gsd=30, common_name="red", wavelength_nm=654.5),
        Band(name="B05", gsd=30, common_name="nir08", wavelength_nm=865),
        Band(name="B06", gsd=30, common_name="swir16", wavelength_nm=1608.5),
        Band(name="B07", gsd=30, common_name="swir22", wavelength_nm=2200.5),
    ),
    dtype="uint16",
    nodata=0,
    scale=1e-4,
    offset=-0.1,
)
