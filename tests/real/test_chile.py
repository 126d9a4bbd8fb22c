"""Chile: the whole chain on real scenes, scored on the half that no label touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from sscl_geo.frozen import read_yaml
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.legend import Legend
from sscl_geo.learn.study import Study
from sscl_geo.plugins import shipped
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.baseline import make_baseline
from sscl_geo.stages.evaluate import evaluate
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.map import make_map
from sscl_geo.stages.pretrain import PretrainRequest, pretrain
from sscl_geo.stages.report import ReportRequest, make_report

MIDDLE = -72.4788
NOTE = (
    "Araucania, Chile, 8 April 2020. Labels are the western half of a modelled annual land-cover "
    "product, and the scores are agreement with its eastern half: one small place, one date. "
    "Pretraining saw all five TerraMesh places and the BigEarthNet patches, without labels."
)


@pytest.fixture(scope="module")
def report(
    real_cubes: dict[str, list[Path]], truth_of: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("chile")
    (cube,) = real_cubes["Chile, Araucania"]
    legend = read_yaml(Legend, shipped("catalogs") / "legends" / "annual-lulc.yaml")
    study = read_yaml(Study, Path(__file__).with_name("chile.yaml"))
    everywhere = LabelsRequest(cube=cube, source=truth_of("Chile"), legend=legend)
    west = everywhere.replace(bbox=BBox(-73, -39, MIDDLE, -38))
    east = everywhere.replace(bbox=BBox(MIDDLE, -39, -72, -38))
    make_labels(west, folder / "west.zarr")
    make_labels(east, folder / "east.zarr")
    make_baseline(cube, folder / "west.zarr", folder / "forest.zarr", 0)
    cubes = [path for paths in real_cubes.values() for path in paths]
    assert len(cubes) == 38
    learning = PretrainRequest(imagery=tuple(cubes), study=study)
    pretrain(learning, folder / "encoder", Ranks())
    request = FinetuneRequest(
        imagery=(cube,), labels=(folder / "west.zarr",), encoder=folder / "encoder", study=study
    )
    finetune(request, folder / "model", Ranks())
    make_map(cube, folder / "model", folder / "map.zarr", Machines())
    page = make_report(
        ReportRequest(
            title="Land cover of Araucania, Chile",
            cube=cube,
            maps=(
                ("SSCL", folder / "map.zarr"),
                ("random forest on pixels", folder / "forest.zarr"),
            ),
            reference=folder / "east.zarr",
            labels=folder / "west.zarr",
            model=folder / "model",
            notes=(NOTE,),
        ),
        folder / "report",
    )
    assert evaluate(folder / "map.zarr", folder / "east.zarr").pixels > 20_000
    return page


def test_the_report_tells_by_how_much_the_map_beats_majority_and_forest_or_not(
    report: Path,
) -> None:
    summary = json.loads(report.with_name("report.json").read_text())
    page = report.read_text()
    others = {
        "random forest on pixels": summary["others"]["random forest on pixels"]["oa"],
        "the most frequent class everywhere": summary["majority"],
    }
    for name, accuracy in others.items():
        points = 100 * (summary["oa"] - accuracy)
        side = "above" if points >= 0 else "BELOW"
        assert f"{abs(points):.1f} points {side} {name}" in page


def test_the_report_needs_nothing_from_outside(report: Path) -> None:
    page = report.read_text()
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert "https://" not in page
    assert page.count("data:image/png;base64,") >= 6
