"""Names that lead into a private network, on a real server of this machine.

The C library takes `127.1` for a name of 127.0.0.1, as a hostile name server could take any.
"""

from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from sscl_geo.errors import UntrustedHrefError
from sscl_geo.geo.grid import Block
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import Sas, signer
from sscl_geo.io.transport import Request, Transport

NAMES = ["127.1", "127.0.1", "2130706433", "0x7f000001", "0177.0.0.1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_question_to_a_name_that_leads_inside_is_not_sent(name: str, serve: Any) -> None:
    server = serve(lambda _: {"told": 1})
    url = server.url.replace("127.0.0.1", name)
    with pytest.raises(UntrustedHrefError, match=r"leads to 127\.0\.0\.1, in a private network"):
        Transport(url).ask(Request(url))
    assert server.asked == []
    assert Transport(url, private_hosts=(name.upper(),)).ask(Request(url)).content == {"told": 1}
    assert Transport(server.url).ask(Request(server.url)).content == {"told": 1}


def test_a_token_is_not_asked_of_a_name_that_leads_inside(serve: Any) -> None:
    server = serve(lambda _: {})
    url = server.url.replace("127.0.0.1", "127.1")
    sign = signer(Sas(tokens_url=url, hosts=("data.example.org",)))
    with pytest.raises(UntrustedHrefError, match="private_hosts"):
        sign("https://data.example.org/account/container/a.tif")
    assert server.asked == []


def test_a_scene_of_a_name_that_leads_inside_is_not_asked_for(serve: Any) -> None:
    transform = Affine(10, 0, 500_000, 0, -10, 5_400_000)
    pixels = np.full((16, 16), 7, np.uint16)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=16,
            height=16,
            count=1,
            dtype="uint16",
            crs=32633,
            transform=transform,
        ) as file:
            file.write(pixels, 1)
        content = bytes(memory.getbuffer())
    server = serve(lambda _: content)
    href = f"{server.url.replace('127.0.0.1', '127.1')}/a.tif"
    block = Block("EPSG:32633", transform, 16, 16)
    refused = pytest.raises(UntrustedHrefError, match=r"leads to 127\.0\.0\.1")
    with GeoTiffReader(signer("none")) as reader, refused:
        reader.read(href, block, 0, "continuous")
    assert server.asked == []
    with GeoTiffReader(signer("none", ("127.1",))) as reader:
        assert np.array_equal(reader.read(href, block, 0, "continuous"), pixels)
