"""How GDAL may behave: nothing beside the one file it is given, no threads, a bounded cache."""

import os
from collections.abc import MutableMapping

SETTINGS: dict[str, str | int] = {
    # Decoded blocks, in MB, of all threads: more than one row of a granule's blocks of 512 px.
    "GDAL_CACHEMAX": 64,
    # No sidecar: neither looked for, nor believed.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    # Compressed bytes of a whole window are asked for at once.
    "GDAL_MAX_RAW_BLOCK_CACHE_SIZE": str(256 << 20),
    "GDAL_NUM_THREADS": "1",
    # Remote files are read by `RangeClient`; GDAL itself is kept from the network.
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
}
"""Options for `rasterio.Env`, as GDAL's manual and the pages of its drivers name them."""


def set_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Write the settings to a process's environment, before GDAL is first used in it.

    A reader has them in any case; this is for what else uses GDAL in the process. Settings that the
    user made stay.
    """
    for key, value in SETTINGS.items():
        environment.setdefault(key, str(value))
    # Only the environment can do this: VRT reads whatever files and addresses its text names.
    environment.setdefault("GDAL_SKIP", "VRT,OGR_VRT")
