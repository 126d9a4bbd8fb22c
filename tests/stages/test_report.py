"""The report: what an assessment says stands beside what pixels count."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sscl_geo.cli import app
from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.location import location
from sscl_geo.ops.area_estimation import AreaAssessment, ClassArea
from sscl_geo.stages.report import ReportRequest, make_report
from tests.drawn_cubes import draw_cube
from tests.drawn_maps import draw_map


def halves(legend: Legend) -> Any:
    def draw(_: Grid, window: Window) -> np.ndarray:
        columns = np.arange(window.x, window.x + window.width)
        row = np.where(columns < 150, legend.values[0], legend.values[1])
        return np.tile(row, (window.height, 1))

    return draw


@pytest.fixture
def mapped(learned: Any, dfc2020: Legend, tmp_path: Path) -> Path:
    grids = Cube.open(learned.cube).spec.grids
    return draw_map(tmp_path / "map.zarr", grids, halves(dfc2020), legend=dfc2020)


def assessment(mapped: Path, legend: Legend) -> AreaAssessment:
    count = len(legend.classes)
    blank = ((0,) * count,) * count
    return AreaAssessment(
        map=Classes.open(mapped, "map").store.plan.digest,
        seed=0, legend=legend, points=150, missing=7, matrix=blank, proportions=blank,
        overall=0.849, overall_error=0.0169, hectares=900.0,
        classes=tuple(
            ClassArea(
                value=value, name=name, points=75, mapped_ha=123.4, adjusted_ha=567.8,
                standard_error_ha=10, interval_ha=19.6, users=0.94, users_error=0.01,
                producers=None, producers_error=None,
            )
            for value, name in zip(legend.values, legend.names, strict=True)
        ),
    )  # fmt: skip


def test_adjusted_areas_stand_beside_counted_ones(
    learned: Any, mapped: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    path = tmp_path / "assessment.json"
    path.write_text(assessment(mapped, dfc2020).model_dump_json())
    request = ReportRequest(
        title="Area", cube=location(learned.cube), maps=(("ours", location(mapped)),)
    )
    page = make_report(request, tmp_path / "plain").read_text()
    assert "Counted in pixels of the map, and so biased by its errors" in page
    page = make_report(request.replace(assessment=path), tmp_path / "report").read_text()
    for told in ("Area, by a sample of 150 points", "123.4", "567.8", "19.6", "94.0 ± 2.0"):
        assert told in page
    assert "Overall accuracy is 84.9 ± 3.3 %" in page
    assert "7 points of the sample have no reference" in page
    assert "Mapped area" not in page
    summary = json.loads((tmp_path / "report" / "report.json").read_text())
    assert summary["assessment"] == pytest.approx({"oa": 0.849, "oa_interval": 0.033124})


def test_an_assessment_that_is_not_of_the_map_is_refused(
    learned: Any, mapped: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    path = tmp_path / "assessment.json"
    request = ReportRequest(
        title="Area", cube=location(learned.cube), maps=(("ours", location(mapped)),),
        assessment=path,
    )  # fmt: skip
    other = assessment(mapped, dfc2020).replace(map="0" * 64).model_dump_json()
    for content, told in ((None, "no such file"), ("[]", "is no assessment"), ("x", "is no JSON"),
                          ("{}", "Field required"), (other, "is not of .*map.zarr")):  # fmt: skip
        if content is not None:
            path.write_text(content)
        with pytest.raises(InvalidInputError, match=told) as error:
            make_report(request, tmp_path / "report")
        assert f"--assessment {path}" in str(error.value)
    with pytest.raises(InvalidInputError, match="needs the map"):
        make_report(request.replace(maps=()), tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("part", ["labels", "reference"])
def test_labels_of_another_cube_are_refused(learned: Any, part: str, tmp_path: Path) -> None:
    (grid,) = Cube.open(learned.cube).spec.grids
    other = grid.replace(origin=(grid.origin[0] + 600, grid.origin[1]))
    draw_cube(tmp_path / "other.zarr", (other,), Window(0, 0, 2, 2))
    given = {part: location(learned.labels)}
    request = ReportRequest(title="Area", cube=location(tmp_path / "other.zarr"), **given)
    with pytest.raises(InvalidInputError, match="different grids"):
        make_report(request, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_reference_pixels_that_a_map_leaves_out_are_told(
    learned: Any, mapped: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    def west(_: Grid, window: Window) -> np.ndarray:
        columns = np.arange(window.x, window.x + window.width)
        return np.tile(np.where(columns < 100, dfc2020.values[0], 0), (window.height, 1))

    grids = Cube.open(learned.cube).spec.grids
    part = draw_map(tmp_path / "part.zarr", grids, west, legend=dfc2020)
    maps = (("ours", location(mapped)), ("part", location(part)))
    request = ReportRequest(
        title="Area", cube=location(learned.cube), maps=maps, reference=location(learned.labels)
    )
    page = make_report(request, tmp_path / "report").read_text()
    summary = json.loads((tmp_path / "report" / "report.json").read_text())
    missed = summary["others"]["part"]["unmapped"]
    assert summary["unmapped"] == 0 < missed
    assert f"<p>part does not map {missed:,} reference pixels: scores are of the pixels" in page
    assert "These may differ from map to map" in page
    assert "not mapped by ours" in page
    whole = make_report(request.replace(maps=maps[:1]), tmp_path / "whole").read_text()
    assert "not map" not in whole
    done = CliRunner().invoke(
        app, ["evaluate", "--map", str(part), "--reference", str(learned.labels)]
    )
    assert f" pixels; {missed} more have labels and are not mapped\n" in done.output
