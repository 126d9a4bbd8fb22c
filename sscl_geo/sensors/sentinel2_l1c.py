"""Sentinel-2 Level-1C, reflectance at the top of the atmosphere, as canonical DN + 1000.

Of chips such as DFC2020 and SEN12MS, which bring all 13 bands to 10 m. It is another product than
Level-2A (see `sentinel2_l2a`): a model never mixes the two. Wavelengths: ESA Sentinel-2 MSI User
Guide, S2A.
"""

from sscl_geo.geo.sensor import Band, Sensor

SENSOR = Sensor(
    name="sentinel2_l1c",
    array="s2_l1c",
    quantity="toa_bidirectional_reflectance",
    units="1",
    kind="optical",
    bands=(
        Band(name="B01", gsd=60, common_name="coastal", wavelength_nm=442.7),
        Band(name="B02", gsd=10, common_name="blue", wavelength_nm=492.4),
        Band(name="B03", gsd=10, common_name="green", wavelength_nm=559.8),
        Band(name="B04", gsd=10, common_name="red", wavelength_nm=664.6),
        Band(name="B05", gsd=20, common_name="rededge071", wavelength_nm=704.1),
        Band(name="B06", gsd=20, common_name="rededge075", wavelength_nm=740.5),
        Band(name="B07", gsd=20, common_name="rededge078", wavelength_nm=782.8),
        Band(name="B08", gsd=10, common_name="nir", wavelength_nm=832.8),
        Band(name="B8A", gsd=20, common_name="nir08", wavelength_nm=864.7),
        Band(name="B09", gsd=60, common_name="nir09", wavelength_nm=945.1),
        Band(name="B10", gsd=60, common_name="cirrus", wavelength_nm=1373.5),
        Band(name="B11", gsd=20, common_name="swir16", wavelength_nm=1613.7),
        Band(name="B12", gsd=20, common_name="swir22", wavelength_nm=2202.4),
    ),
    dtype="uint16",
    nodata=0,
    scale=1e-4,
    offset=-0.1,
)
