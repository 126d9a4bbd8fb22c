"""Status, verify and repair of a cube."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sscl_geo.cli import app, upkeep
from sscl_geo.errors import HolesError, InvalidInputError
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import estimate, resume
from sscl_geo.stages.upkeep import DAMAGED, status, verify

Content = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def cube(learned: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned.cube, tmp_path / "cube.zarr"))


def shards(cube: Path) -> list[Path]:
    return sorted(path for path in (cube / "epsg32633/r10m/s2/c").rglob("*") if path.is_file())


def test_a_whole_cube_is_done_and_every_array_of_it_is_verified(cube: Path) -> None:
    found = status(cube)
    assert found.kind == "cube"
    assert found.counts["waiting"] == found.counts["failed"] == 0
    assert found.counts["done"] == 8
    assert found.seconds > 0
    # Two groups and two counts of Sentinel-2, one group and one count of Sentinel-1.
    assert verify(cube) == 8 * 6


@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_damage_is_found_named_and_repaired_to_the_same_bytes(
    cube: Path, content: Content, harm: str
) -> None:
    before = content(cube)
    victim = shards(cube)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 0xFF
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(data if harm == "flip" else data[: len(data) // 2])
    for _ in range(2):
        with pytest.raises(HolesError, match=f"1 of 8 units failed(.|\n)*{DAMAGED}"):
            verify(cube)
    assert status(cube).counts == {"done": 7, "empty": 0, "failed": 1, "waiting": 0}
    assert resume(cube, Machines()).now == 1
    assert content(cube) == before
    assert verify(cube) == 8 * 6


def test_a_store_that_is_not_done_is_not_called_whole(cube: Path) -> None:
    lines = (cube / "ledger.jsonl").read_text().splitlines(keepends=True)
    (cube / "ledger.jsonl").write_text("".join(lines[:-2]))
    with pytest.raises(HolesError, match="2 of 8 units are not done; what is done is whole"):
        verify(cube)
    with pytest.raises(SystemExit, match="1"):
        upkeep.status(str(cube))


def test_only_stores_of_tiles_have_a_status(learned: Any, tmp_path: Path) -> None:
    assert status(learned.labels).counts["done"] == 4
    with pytest.raises(InvalidInputError, match="is a model; give the path of a cube, labels"):
        status(learned.model)
    with pytest.raises(InvalidInputError, match="not found"):
        verify(tmp_path / "nothing.zarr")


def test_an_estimate_counts_units_and_scenes_and_is_of_the_right_size(
    world: Any, learned: Any
) -> None:
    found = estimate(world.request())
    assert [period.name for period in found.periods] == [
        "2024-04-01/2024-07-01",
        "2024-07-01/2024-10-01",
    ]
    assert found.units == 8
    assert found.empty == 0
    files = [p for p in world.catalog.parent.rglob("*.tif") if "land-cover" not in p.parts]
    assert found.scenes == len({path.parent for path in files}) - 4  # one radar orbit of two
    on_disk = sum(path.stat().st_size for path in files)
    assert 0.3 * on_disk < found.read_bytes < 2 * on_disk
    cube_size = sum(path.stat().st_size for path in learned.cube.rglob("*") if path.is_file())
    assert 0.3 * cube_size < found.write_bytes < 3 * cube_size
    assert found.seconds(10, 2) == pytest.approx(found.read_bytes / 20e6)


CUT_OFF = (
    "--period P3M: the last of 2 periods, from 2024-07-01, has 1 of its 92 days; end --datetime on "
    "2024-06-30 to leave it out or on 2024-09-30 to fill it, or take another --period"
)


@pytest.mark.parametrize(
    ("last_day", "period", "told", "warned"),
    [
        ("07-01", "P3M", "(2, ends exclusive): 2024-04-01/2024-07-01, 2024-07-01/2024-07-02", True),
        ("06-29", "P6D", "2024-04-07/2024-04-13, ..., 2024-06-24/2024-06-30", False),
        ("06-30", "P1Y", "(1, ends exclusive): 2024-04-01/2024-07-01", False),
    ],
    ids=["cut off", "whole", "one"],
)
def test_a_plan_tells_its_periods_and_a_last_one_that_is_cut_off(
    world: Any,
    caplog: pytest.LogCaptureFixture,
    last_day: str,
    period: str,
    told: str,
    warned: bool,
) -> None:
    box = [str(value) for value in world.bbox]
    words = ["ingest", "--plan", "--catalog", world.api, "--bbox", *box, "--period", period]
    words += ["--datetime", f"2024-04-01/2024-{last_day}", "--sensors", "sentinel2_l2a"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"{told}\n" in done.output
    assert [record.getMessage() for record in caplog.records] == [CUT_OFF] * warned
