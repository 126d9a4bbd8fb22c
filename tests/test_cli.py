"""Bad input: one clear line that says what to do, exit code 2, and nothing left behind."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sscl_geo.cli import app
from sscl_geo.cli.options import PANELS
from sscl_geo.errors import InvalidInputError

ROOT = Path(__file__).parents[1]
BOX = ("15.0", "48.7", "15.1", "48.75")
DATES = ("--datetime", "2024-04-01/2024-09-30")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *words], check=False, capture_output=True, text=True, env=environment
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("box", "told"),
    [
        (("15.1", "48.7", "15.0", "48.75"), "west must be west of east"),
        (("15.0", "48.75", "15.1", "48.7"), "south must be below north"),
        (("15.0", "48.7", "195", "48.75"), "outside the world"),
        (("15.0", "48.7", "15.0", "48.75"), "west must be west of east"),
    ],
)
def test_a_box_that_is_none_is_refused(box: tuple[str, ...], told: str, tmp_path: Path) -> None:
    out = tmp_path / "cube.zarr"
    done = run("sscl_geo.ingest", "--bbox", *box, *DATES, "--out", str(out))
    assert_one_line(done, "--bbox", told)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_catalogue_is_named_with_what_to_check(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    out = tmp_path / "cube.zarr"
    done = run("sscl_geo.ingest", "--catalog", url, "--bbox", *BOX, *DATES, "--out", str(out))
    assert_one_line(done, url, "check the address")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--catalog", "nowhere"), ("nowhere", "planetary-computer")),
        (("--catalog", "absent.json"), ("absent.json", "no such file")),
        (("--period", "3 months"), ("--period", "P3M")),
        (("--datetime", "2024"), ("--datetime", "first day / last day")),
        (("--tile-px", "100"), ("--tile-px 100", "multiple of 256")),
        (("--grid", "EPSG:4326"), ("--grid", "EPSG:3035")),
        (("--compositor", "mode"), ("--compositor 'mode'", "median")),
        (("--orbit", "north"), ("--orbit: ", "ascending")),
        (("--region", "absent.gpkg"), ("either --bbox W S E N or --region FILE",)),
        (("--workers", "0"), ("--workers 0", "1 or more")),
        (("--executor", "spark"), ("--executor spark", "dask, ray_tasks, serial")),
    ],
)
def test_an_argument_that_breaks_a_rule_is_refused_before_any_search(
    words: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "cube.zarr"
    done = run("sscl_geo.ingest", "--bbox", *BOX, *DATES, *words, "--out", str(out))
    assert_one_line(done, *parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sensors", "sentinel2_l2a", "--sensors", "sentinel2_l2a"), "--sensors sentinel2_l2a"),
        (("--tile-px", "1" + 24 * "0"), "--tile-px 1000.*at most 65536"),
        (("--plan", "--mb-per-second", "0"), "--mb-per-second 0: must be"),
        (("--plan", "--mb-per-second", "inf"), "--mb-per-second inf: must be"),
        (("--plan", "--price", "-1"), "--price -1: must be"),
        (("--plan", "--price", "nan"), "--price nan: must be"),
    ],
)
def test_a_number_beyond_use_is_refused_before_any_search(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    command = ["ingest", "--bbox", *BOX, *DATES, "--out", str(tmp_path / "cube.zarr"), *words]
    with pytest.raises(InvalidInputError, match=told):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("composite --cube c --out o --opening -1", "^--opening: .*got -1"),
        ("experiment smoke --chips c --out o --executor serial --ray far", "^--ray far: is of"),
        ("composite --cube c --out o --dilation -1", "^--dilation: .*got -1"),
        ("baseline --cube c --labels l --out o --context 0", "^--context: .*got 0"),
        ("publish --map m --out o --file-px 100", "^--file-px: .*got 100"),
        ("chips --source c --kind cube --out o --size 1", "^--size: .*got 1"),
        ("chips --source c --kind cube --out o --size 5", "^--size 5: must be even"),
        ("chips --source c --kind foo --out o", "^--kind foo: choose one of cube, .*sen12ms"),
        ("despeckle --chips c --out o --filter foo", "^--filter 'foo': .*lognlm"),
        ("demo --out o --ranks -1", "^--ranks: .*got -1"),
        ("report --cube c --out o --map a=x --map a=y", "^--map a: names two maps"),
        ("report --cube c --out o --map =x", "^--map '=x': give NAME=PATH"),
        ("report --cube c --out o --map a=", "^--map 'a=': give NAME=PATH"),
        ("report --cube c --out o --map x", "^--map 'x': give NAME=PATH"),
    ],
)
def test_a_refusal_begins_with_the_option(words: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        CliRunner().invoke(app, words.split(), catch_exceptions=False)


def test_something_else_at_the_output_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "cube.zarr"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    done = run("sscl_geo.ingest", "--bbox", *BOX, *DATES, "--out", str(out))
    assert_one_line(done, "not a store of this package")
    assert [path.name for path in out.iterdir()] == ["diary.txt"]


def test_commands_say_which_part_is_missing(tmp_path: Path) -> None:
    absent, out = str(tmp_path / "absent"), str(tmp_path / "out.zarr")
    done = run("sscl_geo.cli", "map", "--cube", absent, "--model", absent, "--out", out)
    assert_one_line(done, absent, "cube")
    done = run("sscl_geo.cli", "pretrain", "--cube", absent, "--out", out, "--study", "nothing")
    assert_one_line(done, "nothing", "letter")
    assert not list(tmp_path.iterdir())


def test_an_address_that_cannot_hold_what_is_made_is_refused() -> None:
    done = run("sscl_geo.ingest", "--bbox", *BOX, *DATES, "--out", "https://bucket/cube.zarr")
    assert_one_line(done, "https://bucket/cube.zarr", "s3://")
    words = ("--cube", "s3://bucket/c.zarr", "--out", "s3://bucket/encoder", "--study", "demo")
    assert_one_line(run("sscl_geo.cli", "pretrain", *words), "a model bundle is kept on a disk")


def test_a_region_that_is_no_polygons_is_refused(tmp_path: Path) -> None:
    for name, content, told in (
        ("absent.geojson", None, "no such file"),
        ("broken.geojson", "{", "cannot be read"),
        ("point.geojson", '{"type": "Point", "coordinates": [3, 4]}', "holds no polygon"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        words = ("--region", str(path), *DATES, "--out", str(tmp_path / "cube.zarr"))
        assert_one_line(run("sscl_geo.ingest", *words), f"--region {path}", told)
    assert not (tmp_path / "cube.zarr").exists()


def test_upkeep_needs_a_store(tmp_path: Path) -> None:
    for command in ("status", "verify", "repair"):
        done = run("sscl_geo.cli", command, str(tmp_path / "absent.zarr"))
        assert_one_line(done, "absent.zarr", "give the path of a cube, labels")


def test_commands_are_listed_in_panels_in_the_order_in_which_a_user_needs_them() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    titles = [line.split(" ─")[0].removeprefix("╭─ ") for line in told.splitlines() if "╭" in line]
    assert titles == ["Options", *PANELS]


def test_help_loads_nothing_that_only_work_needs() -> None:
    heavy = {"torch", "ray", "distributed", "sklearn", "rasterio", "xarray", "pandas", "scipy"}
    code = f"import sys, sscl_geo.cli; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_the_shipped_studies_and_schemas_parse() -> None:
    for kind in ("study", "experiment", "profile", "legend"):
        done = run("sscl_geo.cli", "schema", kind)
        assert done.returncode == 0
        assert '"properties"' in done.stdout


def test_a_catalogue_s_items_are_checked_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    radar = {"sar:product_type": "GRD", "sar:polarizations": ["VV"]}
    item = {"id": "S1", "collection": "sentinel-1-grd", "properties": radar, "assets": {}}
    path.write_text(json.dumps([item, {}]))
    done = run("sscl_geo.cli", "catalog", "check", str(path), "--profile", "earth-search")
    assert done.returncode == 0, done.stderr
    grd, empty = (json.loads(line) for line in done.stdout.splitlines())
    assert (grd["id"], grd["verdict"]) == ("S1", "refused")
    assert "not gamma nought" in grd["cause"]
    assert (empty["id"], empty["verdict"]) == (None, "refused")
    assert_one_line(run("sscl_geo.cli", "catalog", "check", "absent.json"), "absent.json")
