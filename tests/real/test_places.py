"""The chain on real scenes: Chile from its own western half, Chile and Brazil from elsewhere."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sscl_geo.frozen import read_yaml
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.cubes import Classes
from sscl_geo.learn.study import Study
from sscl_geo.plugins import shipped
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.baseline import ForestRequest, make_baseline
from sscl_geo.stages.evaluate import evaluate
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.map import make_map
from sscl_geo.stages.pretrain import PretrainRequest, pretrain
from sscl_geo.stages.report import ReportRequest, make_report

CHILE, BRAZIL = "Chile, Araucania", "Brazil, Parana coast"
MIDDLE = -72.4788
NOTE = (
    "Araucania, Chile, 8 April 2020. Labels are the western half of a modelled annual land-cover "
    "product, and the scores are agreement with its eastern half: one small place, one date. "
    "Pretraining saw, without labels, three other places and the BigEarthNet patches of Europe."
)
ELSEWHERE = ("Tanzania", "Canada, Hudson Bay lowland", "Denmark")
FOREIGN_NOTE = (
    "No label and no pixel of this place was learned from: labels are a modelled annual product in "
    "Tanzania, Canada and Denmark, one date of 2.2 km each, and pretraining saw those and the "
    "BigEarthNet patches of Europe. What is not there, or looks different here, is not known."
)


def annual() -> Legend:
    return read_yaml(Legend, shipped("catalogs") / "legends" / "annual-lulc.yaml")


def pairs(found: Path, truth: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what two stores hold of each grid of theirs."""
    stores = Classes.open(found, "map"), Classes.open(truth, "labels")
    for grid in stores[0].grids:
        window = Window(0, 0, *grid.shape)
        yield stores[0].read(grid.zone, window), stores[1].read(grid.zone, window)


@pytest.fixture(scope="module")
def study() -> Study:
    return read_yaml(Study, Path(__file__).with_name("places.yaml"))


@pytest.fixture(scope="module")
def encoder(
    real_cubes: dict[str, list[Path]], study: Study, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An encoder that has seen neither Chile nor Brazil."""
    cubes = [
        path for name in real_cubes if name not in (CHILE, BRAZIL) for path in real_cubes[name]
    ]
    assert len(cubes) == 36
    out = tmp_path_factory.mktemp("places") / "encoder"
    pretrain(PretrainRequest(imagery=tuple(cubes), study=study), out, Ranks())
    return out


Learn = Callable[..., Path]


@pytest.fixture(scope="module")
def learn(encoder: Path, study: Study) -> Learn:
    """Return what makes a model of cubes and their labels, from the encoder."""

    def learned(
        cubes: Sequence[Path], labels: Sequence[Path], out: Path, study: Study = study
    ) -> Path:
        fields = {"imagery": cubes, "labels": labels, "encoder": encoder, "study": study}
        finetune(FinetuneRequest.model_validate(fields), out, Ranks())
        return out

    return learned


@pytest.fixture(scope="module")
def report(
    learn: Learn,
    real_cubes: dict[str, list[Path]],
    truth_of: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("chile")
    (cube,) = real_cubes[CHILE]
    everywhere = LabelsRequest(cube=cube, source=truth_of("Chile"), legend=annual())
    west = everywhere.replace(bbox=BBox(-73, -39, MIDDLE, -38))
    east = everywhere.replace(bbox=BBox(MIDDLE, -39, -72, -38))
    make_labels(west, folder / "west.zarr")
    make_labels(east, folder / "east.zarr")
    make_baseline(cube, folder / "west.zarr", folder / "forest.zarr", ForestRequest())
    learn([cube], [folder / "west.zarr"], folder / "model")
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


@pytest.fixture(scope="module")
def foreign(
    learn: Learn,
    study: Study,
    real_cubes: dict[str, list[Path]],
    truth_of: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model that has seen neither Chile nor Brazil."""
    folder = tmp_path_factory.mktemp("elsewhere")
    known = [real_cubes[name][0] for name in ELSEWHERE]
    labels = [folder / f"{number}.zarr" for number in range(len(known))]
    for name, cube, out in zip(ELSEWHERE, known, labels, strict=True):
        make_labels(LabelsRequest(cube=cube, source=truth_of(name), legend=annual()), out)
    few = study.finetune.schedule.replace(epochs=1, steps=20)
    short = study.replace(finetune=study.finetune.replace(schedule=few))
    return learn(known, labels, folder / "model", short)


@pytest.mark.parametrize("name", [CHILE, BRAZIL])
def test_a_model_of_other_places_maps_and_the_report_says_how_badly(
    foreign: Path,
    real_cubes: dict[str, list[Path]],
    truth_of: Any,
    tmp_path: Path,
    name: str,
) -> None:
    (cube,), legend = real_cubes[name], annual()
    make_labels(LabelsRequest(cube=cube, source=truth_of(name), legend=legend), tmp_path / "r.zarr")
    make_map(cube, foreign, tmp_path / "map.zarr", Machines())
    request = ReportRequest(
        title=f"{name}, by a model of other places",
        cube=cube,
        maps=(("SSCL", tmp_path / "map.zarr"),),
        reference=tmp_path / "r.zarr",
        model=foreign,
        notes=(FOREIGN_NOTE,),
    )
    page = make_report(request, tmp_path / "report")
    told = json.loads(page.with_name("report.json").read_text())
    found, truth = (
        np.concatenate([array.ravel() for array in arrays])
        for arrays in zip(*pairs(tmp_path / "map.zarr", tmp_path / "r.zarr"), strict=True)
    )
    is_known = truth > 0
    assert is_known.sum() > 40_000
    assert set(np.unique(found[is_known])) <= set(legend.values)
    accuracy = float((found == truth)[is_known].mean())
    majority = float(np.bincount(truth[is_known]).max() / is_known.sum())
    assert told["oa"] == pytest.approx(accuracy)
    assert told["majority"] == pytest.approx(majority)
    points = 100 * (accuracy - majority)
    side = "above" if points >= 0 else "BELOW"
    text = page.read_text()
    assert f"{abs(points):.1f} points {side} the most frequent class everywhere" in text
    assert FOREIGN_NOTE in text


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
