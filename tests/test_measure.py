"""The commands that measure a map: one line each, whether they succeed or not."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
import pyogrio
import pytest

from sscl_geo.cli import app
from sscl_geo.errors import reported
from sscl_geo.geo.grid import Grid
from tests.drawn_maps import draw_map, drawn

ONE = Grid(crs="EPSG:32633", origin=(500040, 5800020), shape=(300, 300), tile_px=256)


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*words: str) -> Done:
        code = 0
        try:
            with reported():
                app(words, standalone_mode=False)
        except SystemExit as left:
            code = int(left.code or 0)
        return Done(code, *capsys.readouterr())

    return ran


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("maps")
    draws = [np.random.default_rng(seed).choice([10, 40, 80], ONE.shape) for seed in (1, 2)]
    paths = [folder / f"{name}.zarr" for name in "ab"]
    return [
        str(draw_map(path, [ONE], drawn(each))) for path, each in zip(paths, draws, strict=True)
    ]


def test_a_map_is_measured_from_the_sample_to_the_adjusted_areas(
    maps: list[str], tmp_path: Path, run: Run
) -> None:
    points, found = tmp_path / "points.gpkg", tmp_path / "assessment.json"
    done = run("assess", "sample", "--map", maps[0], "--out", str(points), "--per-class", "5")
    assert done.stdout == f"{points}: 15 points to interpret; fill in the column reference\n"
    report = ("assess", "report", "--map", maps[0], "--reference", str(points), "--out", str(found))
    done = run(*report)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --reference {points}: 15 of 15 points have no reference")
    frame = geopandas.read_file(points, layer="points").assign(reference=10)
    pyogrio.write_dataframe(frame, points, "points", "GPKG")
    done = run(*report)
    assert done.stdout.startswith(f"{found}: OA 0.3")
    assert "± 0.0000 (95 %) by 15 points" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_each_command_ends_with_one_line(maps: list[str], tmp_path: Path, run: Run) -> None:
    table, shapes, store = (str(tmp_path / n) for n in ("a.parquet", "a.gpkg", "change.zarr"))
    lines = {
        (
            "areas",
            "--map",
            maps[0],
            "--out",
            table,
        ): f"{table}: 900.7 ha mapped, by counting pixels",
        ("vectorize", "--map", maps[0], "--out", shapes, "--min-area", "1"): f"{shapes}: ",
        (
            *("change", "--before", maps[0], "--after", maps[1], "--out", store),
            *("--executor", "serial"),
        ): f"{store}: 4 tiles compared (4 now), 0 without data",
    }
    for words, told in lines.items():
        done = run(*words)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert line.startswith(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("areas", "--out", "a.txt"), "must end in .csv or .parquet"),
        (("areas", "--out", "s3://bucket/a.csv"), "a table is kept on a disk"),
        (("assess", "sample", "--out", "a.csv"), "must end in .gpkg"),
        (("assess", "sample", "--out", "a.gpkg", "--min", "9"), "--min"),
        (("vectorize", "--out", "a.shp"), "must end in .parquet or .gpkg"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], told: str, maps: list[str], run: Run
) -> None:
    done = run(*words, "--map", maps[0])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line
