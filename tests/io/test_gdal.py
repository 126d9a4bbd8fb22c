import os
import socket
import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
import shapely

from sscl_geo.io.gdal import SETTINGS, set_environment


def test_the_users_own_settings_stay() -> None:
    environment = {"GDAL_CACHEMAX": "512"}
    set_environment(environment)
    assert environment == {key: str(value) for key, value in SETTINGS.items()} | {
        "GDAL_CACHEMAX": "512",
        "GDAL_SKIP": "VRT,OGR_VRT",
    }


def bare() -> dict[str, str]:
    """Return this process's environment without what readers have set in it."""
    ours = (*SETTINGS, "GDAL_SKIP")
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.mark.parametrize("is_set", [True, False])
def test_gdal_itself_reaches_no_network_under_the_settings(is_set: bool) -> None:
    environment = {**bare(), "GDAL_HTTP_TIMEOUT": "1", "GDAL_HTTP_MAX_RETRY": "0"}
    if is_set:
        set_environment(environment)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        href = f"http://127.0.0.1:{server.getsockname()[1]}/a.tif"
        program = f"import rasterio; rasterio.open({href!r}, driver='GTiff')"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=False
        )
        assert b"RasterioIOError" in done.stderr
        try:
            server.accept()[0].close()
        except BlockingIOError:
            is_reached = False
        else:
            is_reached = True
    assert is_reached != is_set


def test_a_vector_file_does_not_lead_to_another_under_the_settings(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"class": [1]}, geometry=[shapely.Point(0, 0)], crs=4326)
    frame.to_file(tmp_path / "secret.gpkg", layer="secret")
    disguised = tmp_path / "polygons.gpkg"
    disguised.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="secret">'
        f"<SrcDataSource>{tmp_path / 'secret.gpkg'}</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    program = f"import pyogrio; print(len(pyogrio.read_dataframe({str(disguised)!r})))"
    for is_set, expected in ((False, b"1"), (True, b"")):
        environment = bare()
        if is_set:
            set_environment(environment)
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=False
        )
        assert done.stdout.strip() == expected
