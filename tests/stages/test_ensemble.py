"""Ensembles: one model that says the mean of what its members say."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.io.bundle import CARD, WEIGHTS, read_card, read_weights, write_bundle
from sscl_geo.io.chips import Selection
from sscl_geo.io.plan import PLAN
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.calibrate import calibrate
from sscl_geo.stages.ensemble import ensemble
from sscl_geo.stages.map import make_map
from sscl_geo.stages.map.inference import Inference
from tests.killed import kill_before

TINY = Path(__file__).with_name("tiny.yaml")


def run(*words: str) -> str:
    command = [sys.executable, "-m", "sscl_geo.cli", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def another(learned: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned the same with another seed."""
    out = tmp_path_factory.mktemp("another") / "model"
    taught = ["--cube", str(learned.cube), "--labels", str(learned.labels)]
    made = ["--encoder", str(learned.encoder), "--study", str(TINY), "--seed", "1"]
    run("finetune", *taught, *made, "--out", str(out))
    assert read_card(out).training["seed"] == 1
    return out


def test_the_map_of_an_ensemble_is_the_mean_of_its_members_maps(
    learned: Any, another: Path, tmp_path: Path
) -> None:
    models = ["--model", str(learned.model), "--model", str(another)]
    assert "ensemble of 2 models" in run("ensemble", *models, "--out", str(tmp_path / "both"))
    told = {}
    for name, model in (("one", learned.model), ("two", another), ("both", tmp_path / "both")):
        path = tmp_path / f"{name}.zarr"
        make_map(learned.cube, model, path, Machines(), inference=Inference(has_probabilities=True))
        layers = xarray.open_zarr(path, group="epsg32633/r10m", mask_and_scale=False)
        told[name] = layers.probability.values.astype(np.int64)
    assert (told["one"] != told["two"]).any()
    # Each is rounded to a level.
    assert np.abs(2 * told["both"] - told["one"] - told["two"]).max() <= 2


def test_an_ensemble_is_calibrated_as_a_model_is(
    learned: Any, another: Path, tmp_path: Path
) -> None:
    ensemble([another, learned.model], tmp_path / "both")
    imagery = Selection(path=learned.cube)
    sure = calibrate(tmp_path / "both", imagery, learned.labels, tmp_path / "sure")
    assert (sure.members, sure.temperature != 1) == (2, True)
    with pytest.raises(InvalidInputError, match="is an ensemble itself"):
        ensemble([learned.model, tmp_path / "both"], tmp_path / "out")


def test_a_killed_join_goes_on_with_the_same_command(
    learned: Any, another: Path, tmp_path: Path
) -> None:
    models, out = [learned.model, another], tmp_path / "both"
    words = [word for model in models for word in ("--model", str(model))]
    kill_before("model.json", "ensemble", *words, "--out", str(out))
    assert (out / WEIGHTS).exists()
    assert not (out / CARD).exists()
    for _ in range(2):
        assert ensemble(models, out) == ensemble(models, tmp_path / "alone")
        assert {path.name for path in out.iterdir()} == {CARD, PLAN, WEIGHTS}
    with pytest.raises(PlanConflictError, match=r"both was made by another plan: members"):
        ensemble(models[::-1], out)


def test_a_seed_below_zero_is_told_in_one_line(learned: Any, tmp_path: Path) -> None:
    words = ["finetune", "--cube", str(learned.cube), "--seed", "-1", "--out", str(tmp_path / "m")]
    words += ["--study", "demo"]
    command = [sys.executable, "-m", "sscl_geo.cli", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --seed: ")
    assert len(done.stderr.splitlines()) == 1


def test_what_makes_no_ensemble_is_told_and_leaves_nothing(
    learned: Any, another: Path, tmp_path: Path
) -> None:
    bundle = read_card(another)
    weights = read_weights(another, bundle)
    write_bundle(tmp_path / "wide", bundle.replace(window=128), weights)
    write_bundle(tmp_path / "sure", bundle.replace(temperature=2.0), weights)
    wrong = {
        "needs two models": [learned.model],
        "is an encoder": [learned.model, learned.encoder],
        "two have the same weights": [learned.model, another, learned.model],
        "has another window than": [learned.model, tmp_path / "wide"],
        "is calibrated alone": [learned.model, tmp_path / "sure"],
    }
    for cause, models in wrong.items():
        with pytest.raises(InvalidInputError, match=cause):
            ensemble(models, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="exists and is not a store"):
        ensemble([learned.model, another], tmp_path)
    assert not (tmp_path / "out").exists()
