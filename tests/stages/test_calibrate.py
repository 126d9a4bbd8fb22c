"""Calibration: the same classes, and a confidence that fits labels better."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import CARD, WEIGHTS, read_card, read_weights
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.plan import PLAN
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import CACHE, Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages import calibrate as stage
from sscl_geo.stages.calibrate import calibrate
from sscl_geo.stages.cut import CutSpec, cut_chips
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.map import make_map
from tests.killed import kill_before


def test_a_calibrated_model_maps_the_same_classes_with_another_confidence(
    learned: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    imagery = Selection(path=learned.cube)
    bundle = calibrate(learned.model, imagery, learned.labels, tmp_path / "sure")
    assert f"{learned.labels} taught {learned.model}" in caplog.text
    assert bundle.temperature != 1
    assert bundle.weights_sha256 == read_card(learned.model).weights_sha256
    maps = {}
    for name, model in (("before", learned.model), ("after", tmp_path / "sure")):
        make_map(learned.cube, model, tmp_path / f"{name}.zarr", Machines())
        maps[name] = xarray.open_zarr(tmp_path / f"{name}.zarr", group="epsg32633/r10m")
    same = maps["before"].landcover.values == maps["after"].landcover.values
    # Blended windows may change sides where two classes are alike.
    assert same.mean() > 0.98
    known = maps["before"].landcover.values != 0
    before, after = (maps[name].confidence.values[known] for name in maps)
    gap = np.nanmean(after) - np.nanmean(before)
    assert gap < 0 if bundle.temperature > 1 else gap > 0


def test_chips_that_taught_are_told_and_those_of_other_places_are_not(
    learned: Any, tiny_study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "chips.zarr"
    cut_chips(learned.cube, learned.labels, CutSpec(side_px=32, block_m=640), path)
    places = [chip.place for chip in Chips.open(path).chips]
    here = tuple(n for n, place in enumerate(places) if place == places[0])
    others = tuple(n for n, place in enumerate(places) if place != places[0])
    study = tiny_study.replace(window=32)
    few = FinetuneRequest(imagery=(Selection(path=path, samples=here),), study=study)
    finetune(few, tmp_path / "model", Ranks())
    calibrate(tmp_path / "model", Selection(path=path, samples=others), None, tmp_path / "sure")
    assert not caplog.text
    calibrate(tmp_path / "model", Selection(path=path, samples=here), None, tmp_path / "vain")
    with pytest.raises(InvalidInputError, match=r"the chips of .* bring their own; leave it out"):
        calibrate(tmp_path / "model", Selection(path=path), learned.labels, tmp_path / "two")
    assert f"{path} taught {tmp_path / 'model'}" in caplog.text


def test_labels_without_a_labelled_pixel_are_told_and_leave_nothing(
    learned: Any, tmp_path: Path
) -> None:
    shutil.copytree(learned.labels, tmp_path / "none.zarr")
    zarr.open_array(tmp_path / "none.zarr", path="epsg32633/labels", mode="r+")[:] = 0
    with pytest.raises(InvalidInputError, match="no labelled pixel lies on what was observed"):
        calibrate(
            learned.model, Selection(path=learned.cube), tmp_path / "none.zarr", tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_calibrated_is_told_and_leaves_nothing(
    world: Any, learned: Any, dfc2020: Legend, tmp_path: Path
) -> None:
    imagery = Selection(path=learned.cube)
    with pytest.raises(InvalidInputError, match="is an encoder"):
        calibrate(learned.encoder, imagery, learned.labels, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="a cube needs labels"):
        calibrate(learned.model, imagery, None, tmp_path / "out")
    other = tmp_path / "other.zarr"
    first, *others = dfc2020.classes
    wider = dfc2020.replace(classes=(first.replace(name="another"), *others))
    make_labels(LabelsRequest(cube=learned.cube, source=world.truth, legend=wider), other)
    with pytest.raises(InvalidInputError, match="has another legend than"):
        calibrate(learned.model, imagery, other, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="exists and is not a store"):
        calibrate(learned.model, imagery, learned.labels, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_temperature_is_fitted_on_so_many_pixels_taken_evenly(
    learned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def fitted(logits: np.ndarray, known: np.ndarray) -> float:
        assert len(logits) == len(known)
        counts.append(np.bincount(known, minlength=logits.shape[1]))
        return 1.5

    monkeypatch.setattr(stage, "fitted_temperature", fitted)
    for most, name in ((10**9, "all"), (3000, "few")):
        monkeypatch.setattr(stage, "MOST_PIXELS", most)
        calibrate(learned.model, Selection(path=learned.cube), learned.labels, tmp_path / name)
    every, few = counts
    step = -(-every.sum() // 3000)
    assert step > 1
    assert few.sum() == -(-every.sum() // step)
    assert np.abs(few / few.sum() - every / every.sum()).max() < 0.05


def test_a_killed_calibration_goes_on_with_the_same_command(learned: Any, tmp_path: Path) -> None:
    imagery, out = Selection(path=learned.cube), tmp_path / "sure"
    alone = calibrate(learned.model, imagery, learned.labels, tmp_path / "alone")
    command = ("calibrate", "--model", str(learned.model), "--cube", str(learned.cube))
    kill_before("model.json", *command, "--labels", str(learned.labels), "--out", str(out))
    assert {path.name for path in out.iterdir()} > {CACHE, PLAN, WEIGHTS}
    assert not (out / CARD).exists()
    # Again, as the cache of a killed command may be read; and once more, which finds all there.
    for _ in range(2):
        assert calibrate(learned.model, imagery, learned.labels, out) == alone
        assert {path.name for path in out.iterdir()} == {CARD, PLAN, WEIGHTS}
    assert read_weights(out, read_card(out)).keys() == read_weights(learned.model, alone).keys()
    with pytest.raises(PlanConflictError, match=r"sure was made by another plan: calibrated is"):
        calibrate(tmp_path / "alone", imagery, learned.labels, out)
