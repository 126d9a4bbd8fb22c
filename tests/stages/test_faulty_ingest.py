"""Ingest through proxies that harm a fifth of all requests: the same bytes, or named holes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sscl_geo.demo.serve import served
from sscl_geo.errors import HolesError
from sscl_geo.io.journal import journal
from sscl_geo.io.profile import source
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import IngestRequest, ingest, resume
from tests.faults.proxy import FAULTS, Faulty, Plan, faulty

Content = Callable[[Path], dict[str, bytes]]
QUIET = Plan(share=0)
# No byte of a slow body comes late enough to matter here; it would only make the test slow.
HARM = tuple(fault for fault in FAULTS if fault != "slow")


class Road(NamedTuple):
    """A catalogue behind two proxies, one for the API and one for the files."""

    api: Faulty
    files: Faulty


@pytest.fixture(scope="module")
def road(world: Any) -> Iterator[Road]:
    with (
        served(world.catalog) as urls,
        faulty(urls.files, QUIET) as files,
        faulty(urls.api, QUIET._replace(rewrite=((urls.files, files.url),))) as api,
    ):
        yield Road(api, files)


@pytest.fixture(scope="module")
def request_(world: Any, road: Road) -> IngestRequest:
    changes = {
        "source": source(road.api.url),
        "sensors": ("sentinel2_l2a",),
        "tile_px": 512,
        "ask_pixels": False,
    }
    request: IngestRequest = world.request(
        datetime="2024-04-01/2024-04-30", period="P15D", **changes
    )
    return request


@pytest.fixture(scope="module")
def cube(request_: IngestRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quiet") / "cube.zarr"
    ingest(request_, out, Machines())
    return out


def test_faults_on_a_fifth_of_the_requests_leave_the_same_bytes_or_named_holes(
    road: Road, request_: IngestRequest, cube: Path, tmp_path: Path, content: Content
) -> None:
    out = tmp_path / "cube.zarr"
    road.files.become(Plan(share=0.2, faults=HARM, seed=1))
    try:
        ingest(request_, out, Machines())
    except HolesError:
        assert any(o.status == "failed" and o.cause for o in Ledger(journal(out)).outcomes.values())
    counts = road.files.counts()
    assert sum(counts[fault] for fault in HARM) > 0.1 * counts["requests"]
    road.files.become(QUIET)
    resume(out, Machines())
    assert content(out) == content(cube)


def test_a_file_that_is_gone_is_a_hole_that_repair_closes(
    road: Road, request_: IngestRequest, cube: Path, tmp_path: Path, content: Content
) -> None:
    out = tmp_path / "cube.zarr"
    road.files.become(Plan(share=1, faults=("404",), only=r"B11\.tif"))
    with pytest.raises(HolesError, match=r"2 of 2 units failed(.|\n)*B11\.tif cannot be read"):
        ingest(request_, out, Machines())
    road.files.become(QUIET)
    assert resume(out, Machines()).now == 2
    assert content(out) == content(cube)


def test_a_scene_whose_pixels_cannot_be_asked_is_left_to_its_tiles(
    road: Road, request_: IngestRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asking = request_.replace(ask_pixels=True, method={"max_unreadable": 9})
    road.files.become(Plan(share=1, faults=("404",), only=r"B04\.tif"))
    with pytest.raises(HolesError, match=r"B04\.tif cannot be read"):
        ingest(asking, tmp_path / "cube.zarr", Machines())
    road.files.become(QUIET)
    assert "its pixels cannot be asked, metadata decide" in caplog.text
    assert resume(tmp_path / "cube.zarr", Machines()).done == 2


def test_scenes_may_be_left_out_if_the_user_says_how_many(
    road: Road, request_: IngestRequest, tmp_path: Path
) -> None:
    out = tmp_path / "cube.zarr"
    lenient = request_.replace(method=request_.method.replace(max_unreadable=1))
    road.files.become(Plan(share=1, faults=("404",), only=r"20240407.*33UVP.*B11\.tif"))
    with pytest.raises(HolesError, match="with --max-unreadable"):
        ingest(request_, out, Machines())
    assert ingest(lenient, out, Machines()).now == 1
    (out / "ledger.jsonl").unlink()
    assert resume(out, Machines()).now == 2
    road.files.become(QUIET)
    outcomes = Ledger(journal(out)).outcomes
    (april,) = (o.evidence["unreadable"] for key, o in outcomes.items() if "04-01" in key)
    assert isinstance(april, dict)
    assert len(april) == 1
    assert all("20240407" in name and "404" in str(cause) for name, cause in april.items())
