"""Hostile catalogues: a real API whose answers a proxy turns into attacks, and a server that must
not be reached."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from sscl_geo import plugins
from sscl_geo.demo.serve import Served, served
from sscl_geo.errors import CatalogError, HolesError, UntrustedHrefError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import parse_interval
from sscl_geo.io.catalog import search
from sscl_geo.io.profile import source
from sscl_geo.io.tables import SCENES, read_scenes
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import ingest
from tests.faults.proxy import Faulty, Plan, faulty

SENSOR = plugins.find("sscl_geo.sensors", "sentinel2_l2a").SENSOR
APRIL = "2024-04-01/2024-04-30"


class Canary(ThreadingHTTPServer):
    """A server inside; `asked` is what reached it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.port = self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: Canary

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET  # noqa: N815 - http.server's names


class Trap(NamedTuple):
    """A catalogue, the proxy that twists what it says, and what must not be reached."""

    urls: Served
    api: Faulty
    canary: Canary

    def say(self, old: str, new: str) -> None:
        self.api.become(Plan(share=0, rewrite=((old, new),)))


@pytest.fixture(scope="module")
def trap(world: Any) -> Iterator[Trap]:
    with (
        served(world.catalog) as urls,
        Canary() as canary,
        faulty(urls.api, Plan(share=0)) as api,
    ):
        thread = Thread(target=canary.serve_forever)
        thread.start()
        yield Trap(urls, api, canary)
        canary.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd?",
        "/etc/passwd?",
        "/vsicurl/http://127.0.0.1:{port}",
        "/vsizip//vsicurl/http://127.0.0.1:{port}",
        "<VRTDataset><SourceFilename>/vsicurl/http://127.0.0.1:{port}",
        "s3://another-bucket",
        "ftp://127.0.0.1:{port}",
        "http://localhost:{port}",
        "http://127.1:{port}",
        "http://2130706433:{port}",
        "http://[::1]:{port}",
        "http://[::ffff:127.0.0.1]:{port}",
        "http://169.254.169.254/latest",
        "http://evil.example.org@127.1:{port}",
        "http://127.0.0.1:{port}/a?token=x&b=",
        "gopher://127.0.0.1:{port}",
        "//127.1:{port}",
        "\\\\127.1",
    ],
)
def test_no_scene_is_taken_whose_files_a_catalogue_puts_elsewhere(
    world: Any, trap: Trap, address: str
) -> None:
    trap.say(trap.urls.files, address.format(port=trap.canary.port).replace("\\", "\\\\"))
    catalogue = source(trap.api.url)
    found = search(catalogue, SENSOR, world.bbox, parse_interval(APRIL), ask_pixels=True)
    assert not found.scenes
    assert found.refusals
    assert all("asset address" in refusal.cause for refusal in found.refusals)
    assert trap.canary.asked == []


def test_a_name_of_a_known_pattern_that_leads_inside_is_a_hole_and_reads_nothing(
    world: Any, trap: Trap, tmp_path: Path
) -> None:
    trap.say(trap.urls.files, f"http://127.1:{trap.canary.port}")
    catalogue = source(trap.api.url)
    wide = catalogue.replace(profile=catalogue.profile.replace(hosts=("127.*",)))
    changes = {"source": wide, "sensors": ("sentinel2_l2a",), "ask_pixels": False}
    request = world.request(datetime=APRIL, period="P1M", **changes)
    with pytest.raises(HolesError, match=r"leads to 127\.0\.0\.1, in a private network"):
        ingest(request, tmp_path / "cube.zarr", Machines())
    assert trap.canary.asked == []


def test_an_item_whose_pixels_lead_inside_is_refused_and_the_others_are_taken(
    world: Any, trap: Trap
) -> None:
    honest = f"{trap.urls.files}/sentinel-2-l2a/S2A_MSIL2A_20240407"
    trap.say(honest, f"http://127.1:{trap.canary.port}/x/S2A_MSIL2A_20240407")
    catalogue = source(trap.api.url)
    wide = catalogue.replace(profile=catalogue.profile.replace(hosts=("127.*", "127.0.0.1")))
    found = search(wide, SENSOR, world.bbox, parse_interval(APRIL), ask_pixels=True)
    assert found.refusals
    assert all("in a private network" in refusal.cause for refusal in found.refusals)
    assert found.scenes
    assert trap.canary.asked == []


@pytest.mark.parametrize("attack", ["child", "item", "out", "file"])
def test_a_catalogue_on_disk_leads_nowhere_else(trap: Trap, tmp_path: Path, attack: str) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "Catalog", "id": "pLanTed"}')
    folder = tmp_path / "catalog"
    folder.mkdir()
    inside = f"http://127.0.0.1:{trap.canary.port}/latest/meta-data"
    rel, href = {
        "child": ("child", inside),
        "item": ("item", inside),
        "out": ("child", "../secret.json"),
        "file": ("item", f"file://{secret}"),
    }[attack]
    document = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "a", "description": "a",
        "links": [{"rel": rel, "href": href}],
    }  # fmt: skip
    (folder / "catalog.json").write_text(json.dumps(document))
    catalogue = source(str(folder / "catalog.json"))
    with pytest.raises((CatalogError, UntrustedHrefError)) as error:
        search(catalogue, SENSOR, BBox(0, 0, 1, 1), parse_interval(APRIL))
    assert "pLanTed" not in str(error.value)
    assert "cannot be read as a STAC catalogue" in str(error.value)
    assert trap.canary.asked == []


def test_an_item_s_id_is_never_a_path(world: Any, trap: Trap, tmp_path: Path) -> None:
    trap.say('"id":"S2', '"id":"../../../../../../../../../../tmp/evil/../S2')
    out = tmp_path / "inside" / "cube.zarr"
    changes = {"source": source(trap.api.url), "sensors": ("sentinel2_l2a",), "ask_pixels": False}
    summary = ingest(world.request(datetime=APRIL, period="P1M", **changes), out, Machines())
    assert summary.done > 0
    assert all("../tmp/evil" in scene.id for scene in read_scenes((out / SCENES).read_bytes()))
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert [path.name for path in out.parent.iterdir()] == ["cube.zarr"]
    assert not any("evil" in path.name or "S2" in path.name for path in out.rglob("*"))
    assert not Path("/tmp/evil").exists()  # noqa: S108 - where the attack aims
