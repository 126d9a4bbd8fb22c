"""An experiment on real chips: every kind of system, cell by cell, and only what is new."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sscl_geo.errors import HolesError, InvalidInputError, PlanConflictError
from sscl_geo.experiment.feature_maps import panels
from sscl_geo.experiment.matrix import Experiment, merged
from sscl_geo.experiment.run import cells, encoders, run_experiment
from sscl_geo.experiment.spec import ForestSpec, HeadSpec, System
from sscl_geo.experiment.splits import split_chips
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import Chips, write_chips
from sscl_geo.io.chipsets import hls_worldcover
from sscl_geo.io.journal import journal
from sscl_geo.plugins import names, shipped
from sscl_geo.runtime.gang import CACHE, running
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Machines


@pytest.fixture(scope="module")
def chips(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Chips:
    """The chips of 24 places, in a corner of 64 pixels, so that all systems run in seconds."""
    folder = tmp_path_factory.mktemp("small")
    whole = np.load(realdata / "hls_worldcover.npz")
    few = {name: whole[name][:24] for name in whole.files if name != "bands"}
    for name in ("reflectance", "worldcover", "dem", "water"):
        few[name] = few[name][..., :64, :64]
    np.savez(folder / "few.npz", bands=whole["bands"], **few)
    legend = read_yaml(Legend, shipped("catalogs") / "legends" / "worldcover.yaml")
    return write_chips(hls_worldcover.chip_source(folder / "few.npz", legend), folder / "c.zarr")


@pytest.fixture(scope="module")
def smoke() -> Experiment:
    return read_yaml(Experiment, shipped("workflows/experiments") / "smoke.yaml")


@pytest.fixture(scope="module")
def done(chips: Chips, smoke: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("smoke") / "out"
    run_experiment(smoke, chips.path, out, Machines())
    return out


def test_every_system_is_tried_with_every_number_of_labels_and_seed(
    done: Path, smoke: Experiment
) -> None:
    rows = json.loads((done / "results.json").read_text())
    tried = {name: (smoke.labels_of(name), smoke.seeds_of(name)) for name in smoke.systems}
    assert tried["sscl"] == ((4, "all"), 2)
    assert len(rows) == sum(len(labels) * seeds for labels, seeds in tried.values())
    for row in rows:
        assert 0 <= row["scores"]["miou"] <= 1
        assert row["scores"]["pixels"] > 10_000
        assert row["nll"] > 0
    tables = (done / "results.md").read_text()
    assert all(f"| {name} |" in tables for name in smoke.systems)
    for metric in ("mIoU", "OA", "AA", "NLL", "ECE"):
        assert f"| sscl - random | {metric} |" in tables
    rows = json.loads((done / "results.json").read_text())
    miou = {row["key"]: 100 * row["scores"]["miou"] for row in rows}
    saved = np.mean([miou[f"sscl/4/{seed}"] - miou[f"random/all/{seed}"] for seed in range(2)])
    assert f"| sscl - random, all | mIoU | {saved:+.2f} [" in tables
    assert "| pretrained system | gradient energy | median frequency |" in tables
    classes = [row["scores"]["iou"] for row in rows if row["key"].startswith("sscl/all/")]
    names = [item["name"] for item in rows[0]["scores"]["legend"]["classes"]]
    by_class = tables.split(f"| system | labelled chips | {' | '.join(names)} |")[1]
    line = next(line for line in by_class.splitlines() if line.startswith("| sscl |"))
    means = [[one for one in seeds if one is not None] for seeds in zip(*classes, strict=True)]
    told = [f"{100 * np.mean(one):.1f}" if one else "" for one in means]
    assert line == f"| sscl | all | {' | '.join(told)} |"
    assert not list((done / "models").rglob("model.safetensors"))


def test_an_ensemble_is_judged_by_the_mean_of_what_its_members_said(
    done: Path, chips: Chips, smoke: Experiment
) -> None:
    said = [
        np.load(done / "probabilities" / f"{unit.key}.npy").astype(np.float64)
        for unit in cells(smoke)
        if unit.system in smoke.systems["together"].ensemble and (unit.labels, unit.seed) == (4, 1)
    ]
    assert len(said) == 3
    judged = Chips.open(chips.path, split_chips(chips.chips, smoke.split).test)
    truth, legend = judged.labels(), Legend.model_validate(chips.spec.legend)
    found = np.array(legend.values)[np.mean(said, 0).argmax(1)]
    right = (found == truth)[truth != 0].mean()
    rows = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    assert rows["together/4/1"]["scores"]["oa"] == pytest.approx(right, abs=1e-4)
    alone = {rows[f"{name}/4/1"]["scores"]["oa"] for name in smoke.systems["together"].ensemble}
    assert len(alone | {rows["together/4/1"]["scores"]["oa"]}) > 1


def test_a_temperature_changes_what_a_system_is_sure_of_and_no_class(
    done: Path, smoke: Experiment
) -> None:
    rows = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    for plain, calibrated in (("random", "calibrated"), ("forest", "forest_calibrated")):
        for seed in range(smoke.seeds):
            one, other = (rows[f"{name}/all/{seed}"] for name in (plain, calibrated))
            assert one["scores"] == other["scores"]
            assert other["nll"] < one["nll"]


def test_a_band_that_the_judged_chips_lack_is_not_observed_there(
    done: Path, chips: Chips, smoke: Experiment
) -> None:
    rows = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    one, lacking = (rows[f"{name}/4/0"] for name in ("withheld", "withheld_without"))
    assert one["nll"] != lacking["nll"]
    wrong = smoke.replace(
        systems={"random": System(judged_without=("sentinel1_grd",))}, pairs=(), savings=()
    )
    cause = "judged_without sentinel1_grd: the network sees hls_l30:"
    with pytest.raises(InvalidInputError, match=cause):
        run_experiment(wrong, chips.path, done, Machines())
    with pytest.raises(InvalidInputError, match="an ensemble is not calibrated"):
        System(ensemble=("one", "other"), calibrated=True)
    with pytest.raises(InvalidInputError, match="from a network alone"):
        System(forest=ForestSpec(), judged_without=("sentinel1_grd",))


def test_what_is_calibrated_on_chips_is_not_judged_on_them(
    chips: Chips, smoke: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    systems = {name: smoke.systems[name] for name in ("forest", "forest_calibrated")}
    few = smoke.replace(systems=systems, pairs=(), savings=(), labels=(4,), seeds=1)
    run_experiment(few, chips.path, tmp_path / "out", Machines(), "validation")
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert row["key"] == "forest/4/0"
    assert "forest_calibrated left out" in caplog.text


def test_a_member_that_was_none_before_learns_again(
    done: Path, chips: Chips, smoke: Experiment, tmp_path: Path
) -> None:
    part = smoke.part(["together"], seeds=1).replace(labels=(4,), pairs=(), savings=())
    names = {unit.system for unit in cells(part)}
    assert names == {"together", *smoke.systems["together"].ensemble}
    run_experiment(part, chips.path, tmp_path / "out", Machines())
    ledger = (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()
    (tmp_path / "out" / "ledger.jsonl").write_text(
        "".join(f"{line}\n" for line in ledger if "together" not in line)
    )
    kept = tmp_path / "out" / "probabilities"
    shutil.rmtree(kept)
    assert run_experiment(part, chips.path, tmp_path / "out", Machines()).now == 1
    assert len(list(kept.rglob("*.npy"))) == 3
    mine = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [mine[row["key"]] for row in rows] == rows
    assert len(rows) == 4


def test_pictures_show_every_pretrained_system_beside_the_chip_and_its_labels(
    done: Path, chips: Chips, smoke: Experiment
) -> None:
    for name in ("curve.png", "features.png"):
        with Image.open(done / name) as image:
            image.verify()
    made = [(unit.system, done / unit.key) for unit in encoders(smoke) if unit.seed == 0]
    shown = panels(Chips.open(chips.path, (3,)), made)
    titles = [panel.title.splitlines()[0] for panel in shown]
    assert titles == ["true colour", "labels", *(system for system, _ in made)]
    labels = np.asarray(chips.store.array("labels")[3])
    legend = Legend.model_validate(chips.spec.legend)
    colors = {item.value: item.rgb for item in legend.classes}
    assert tuple(shown[1].image[5, 7]) == colors[int(labels[5, 7])]
    assert len({panel.image.tobytes() for panel in shown}) == len(shown)


def test_the_same_command_does_nothing_and_a_new_system_only_its_own_cells(
    done: Path, chips: Chips, smoke: Experiment
) -> None:
    before = (done / "results.json").read_text()
    assert not (done / CACHE).exists()
    assert run_experiment(smoke, chips.path, done, Machines()).now == 0
    assert (done / "results.json").read_text() == before
    systems = {**smoke.systems, "random_again": System()}
    larger = smoke.replace(systems=systems)
    assert run_experiment(larger, chips.path, done, Machines()).now == 4
    rows = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    one, same = (rows[f"{name}/4/1"] for name in ("random", "random_again"))
    assert {**one, "key": ""} == {**same, "key": ""}


def test_what_fails_holds_back_only_what_needs_it(
    done: Path, chips: Chips, smoke: Experiment, tmp_path: Path
) -> None:
    pretext = smoke.study_of("core").pretexts[0]
    endless = pretext.replace(schedule=pretext.schedule.replace(learning_rate=1e30))
    systems = {
        "broken": System(study={"pretexts": [endless.model_dump(mode="json")]}),
        "random": smoke.systems["random"],
        "both": System(ensemble=("random", "broken")),
    }
    part = smoke.replace(systems=systems, pairs=(), savings=(), labels=(4,), seeds=1)
    with pytest.raises(HolesError, match="2 of 3 cells wait for what failed") as told:
        run_experiment(part, chips.path, tmp_path / "out", Machines())
    assert "encoders/broken@" in str(told.value)
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
    mine = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    assert row == mine["random/4/0"]


def test_a_part_leaves_the_tables_of_the_rest(
    chips: Chips, smoke: Experiment, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("forest", "random"):
        part = smoke.part([name], seeds=1)
        run_experiment(part, chips.path, out, Machines(), whole=smoke)
    rows = {row["key"] for row in json.loads((out / "results.json").read_text())}
    names = {f"{name}/{count}/0" for name in ("forest", "random") for count in (4, "all")}
    assert rows == names
    tables = (out / "results.md").read_text()
    assert "| forest |" in tables
    assert "| sscl |" not in tables
    with running(out), pytest.raises(PlanConflictError, match="trains there already"):
        run_experiment(smoke, chips.path, out, Machines())


def test_a_gpu_that_nobody_has_is_told_before_any_cell(
    chips: Chips, smoke: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for executor, told in (("dask", "Dask hands out no GPUs"), ("serial", "torch finds no GPU")):
        with pytest.raises(InvalidInputError, match=told):
            run_experiment(
                smoke, chips.path, tmp_path / "out", Machines(executor=executor, gpus=True)
            )
    assert not (tmp_path / "out").exists()


def test_networks_of_two_precisions_in_one_table_are_told(
    done: Path, chips: Chips, smoke: Experiment, tmp_path: Path
) -> None:
    part = smoke.part(["random"]).replace(labels=(4,))
    changed = merged(part.study, {"finetune": {"schedule": {"precision": "auto"}}})
    auto, out = part.replace(study=changed), tmp_path / "out"
    run_experiment(auto, chips.path, out, Machines())
    assert "learned in bfloat16" not in (out / "results.md").read_text()
    lines = (out / "ledger.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["evidence"]["has_bfloat16"] = not first["evidence"]["has_bfloat16"]
    (out / "ledger.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    run_experiment(auto, chips.path, out, Machines())
    assert "learned in bfloat16" in (out / "results.md").read_text()
    assert "learned in bfloat16" not in (done / "results.md").read_text()


def test_a_system_that_changes_is_another_and_so_is_what_is_built_on_it(
    smoke: Experiment,
) -> None:
    changed = smoke.systems["sscl"].replace(study=smoke.systems["core"].study)
    other = smoke.replace(systems={**smoke.systems, "sscl": changed})
    assert smoke.version("random") == other.version("random")
    assert smoke.version("sscl") != other.version("sscl")
    assert smoke.version("teacher") != other.version("teacher")


def test_only_what_decides_a_pretraining_makes_it_another(smoke: Experiment) -> None:
    longer = smoke.replace(study=merged(smoke.study, {"finetune": {"schedule": {"epochs": 9}}}))
    assert longer.version("sscl") != smoke.version("sscl")
    assert longer.encoder_version("sscl") == smoke.encoder_version("sscl")
    assert longer.version("forest") == smoke.version("forest")
    assert longer.version("logistic") == smoke.version("logistic")


def test_another_draw_is_another_training_with_the_same_labels(smoke: Experiment) -> None:
    again = smoke.systems["sscl"].replace(draw=1)
    both = smoke.replace(systems={**smoke.systems, "again": again})
    assert both.version("sscl") == smoke.version("sscl")
    assert both.version("again") != both.version("sscl")
    assert both.encoder_version("again") != both.encoder_version("sscl")
    seeds = {both.study_of(name, seed).seed for name in ("sscl", "again") for seed in range(8)}
    assert len(seeds) == 16
    with pytest.raises(InvalidInputError, match="give one of them"):
        smoke.systems["forest"].replace(draw=1)


def test_a_part_of_an_experiment_has_the_cells_of_the_whole_and_the_encoders_they_need(
    smoke: Experiment,
) -> None:
    part = smoke.part(["teacher", "forest"], seeds=1)
    whole = cells(smoke)
    assert {unit.system for unit in cells(part)} == {"teacher", "forest"}
    assert [unit for unit in whole if unit in cells(part)] == [*cells(part)]
    assert {unit.seed for unit in cells(part)} == {0}
    assert [unit.system for unit in encoders(part)] == [smoke.encoder_system("teacher")]
    assert set(encoders(part)) <= set(encoders(smoke))
    assert cells(smoke.part()) == whole
    borrowed = {**smoke.systems, "late": System(head=HeadSpec(of="teacher"))}
    late = smoke.replace(systems=borrowed).part(["late"])
    assert {unit.system for unit in cells(late)} == {"late"}
    assert {unit.system for unit in encoders(late)} == {smoke.encoder_system("teacher")}
    with pytest.raises(InvalidInputError, match="name systems of the experiment"):
        smoke.part(["nobody"])


def test_every_pretext_backbone_and_init_without_files_is_in_the_smoke_experiment(
    smoke: Experiment,
) -> None:
    studies = [smoke.study_of(name) for name in smoke.systems]
    pretexts = {pretext.name for study in studies for pretext in study.pretexts}
    assert pretexts == {*names("sscl_geo.learn.pretext")}
    assert {study.backbone.name for study in studies} == {*names("sscl_geo.learn.backbones")}


def test_a_system_that_cannot_learn_is_a_named_hole(
    done: Path, chips: Chips, smoke: Experiment
) -> None:
    wrong = smoke.replace(
        systems={"huge": System(study={"finetune": {"schedule": {"patch": 512}}})},
        pairs=(),
        savings=(),
    )
    with pytest.raises(HolesError, match="no field has labels for a patch of 512 px"):
        run_experiment(wrong, chips.path, done, Machines())
    outcomes = Ledger(journal(done)).outcomes.values()
    failed = [o.key for o in outcomes if o.status == "failed" and "/huge@" in o.key]
    assert len(failed) == 4


def test_patience_has_no_labels_to_judge_by_in_an_experiment(smoke: Experiment) -> None:
    hasty = System(study={"finetune": {"patience": 2}})
    with pytest.raises(InvalidInputError, match="system hasty: patience takes labels"):
        Experiment.model_validate(
            {**dict(smoke), "systems": {"hasty": hasty}, "pairs": (), "savings": ()}
        )


@pytest.mark.parametrize(
    ("systems", "cause"),
    [
        ({"a": {}, "e": {"ensemble": ["a"]}}, "two members or more"),
        ({"a": {}, "e": {"ensemble": ["a", "a"]}}, "two members or more, each once"),
        ({"a": {}, "e": {"ensemble": ["a", "a2"]}}, "unknown systems a2"),
        ({"a": {}, "b": {}, "e": {"ensemble": ["a", "b"], "of": "a"}}, "give one of them"),
        ({"a": {}, "b": {"seeds": 1}, "e": {"ensemble": ["a", "b"]}}, "b is not tried with all"),
        ({"a": {}, "b": {"labels": [4]}, "e": {"ensemble": ["a", "b"]}}, "b is not tried with all"),
        (
            {"a": {}, "b": {}, "e": {"ensemble": ["a", "b"]}, "f": {"ensemble": ["a", "e"]}},
            "system f: e is an ensemble itself",
        ),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(
    smoke: Experiment, systems: dict[str, Any], cause: str
) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        smoke.replace(systems=systems, pairs=(), savings=())


def test_an_ensemble_changes_with_its_members(smoke: Experiment) -> None:
    changed = smoke.systems["sscl"].replace(study=smoke.systems["core"].study)
    other = smoke.replace(systems={**smoke.systems, "sscl": changed})
    assert smoke.version("together") != other.version("together")
    assert smoke.members == {"sscl", "random", "forest_context"}


def test_an_experiment_that_names_an_absent_system_is_refused(smoke: Experiment) -> None:
    with pytest.raises(InvalidInputError, match="unknown systems sscl2"):
        smoke.replace(pairs=[["sscl2", "random"]])
    silent = {**smoke.systems, "silent": System(labels=())}
    with pytest.raises(InvalidInputError, match="savings: silent is tried with no labels"):
        smoke.replace(systems=silent, savings=(("sscl", "silent"),))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"systems": {"forest@deep": System()}}, "system 'forest@deep': folders have its name"),
        ({"systems": {"a/b": System()}}, "system 'a/b': folders have its name"),
        ({"labels": (4, 4)}, "labels 4, 4: name each once"),
        ({"labels": ("all", 4)}, "labels all, 4: name each once, the fewest first and `all` last"),
        ({"labels": (20, 4)}, "labels 20, 4: name each once"),
        ({"systems": {"a": System(labels=("all", "all"))}}, "labels all, all: name each once"),
    ],
)
def test_cells_that_would_share_a_name_are_refused(
    smoke: Experiment, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        smoke.replace(**changes, pairs=(), savings=())


def test_an_encoder_of_another_network_is_refused(smoke: Experiment) -> None:
    other = System(of="sscl", study={"features": {"width": 3}})
    with pytest.raises(InvalidInputError, match="takes the encoder of sscl, and so its periods"):
        smoke.replace(systems={**smoke.systems, "other": other})


@pytest.mark.parametrize(
    ("systems", "cause"),
    [
        ({"a": System(of="b"), "b": System(of="a")}, "takes its encoder from itself"),
        ({"a": System(), "h": System(head=HeadSpec(of="a"))}, "a is not pretrained"),
    ],
)
def test_a_chain_without_an_encoder_is_refused(
    smoke: Experiment, systems: dict[str, System], cause: str
) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        smoke.replace(systems=systems, pairs=(), savings=())


@pytest.mark.parametrize(
    ("changes", "judged", "cause"),
    [
        ({"labels": (4, 500, "all")}, "test", "500 chips wanted"),
        ({"split": {"test": 0.3}}, "validation", "keeps no chips for it"),
        ({"split": {"test": 0.3}}, "test", "forest_calibrated: .* split some off"),
        (
            {"systems": {"one": System(calibrated=True)}, "pairs": (), "savings": ()},
            "validation",
            "one is calibrated on these chips",
        ),
    ],
)
def test_what_the_chips_cannot_give_is_refused_before_anything_is_written(
    chips: Chips, smoke: Experiment, tmp_path: Path, changes: Any, judged: Any, cause: str
) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        run_experiment(smoke.replace(**changes), chips.path, tmp_path / "out", Machines(), judged)
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
def test_the_job_on_ray_finds_what_this_process_finds(
    done: Path, chips: Chips, smoke: Experiment, tmp_path: Path
) -> None:
    systems = {name: smoke.systems[name] for name in ("random", "core", "forest")}
    few = smoke.replace(systems=systems, pairs=(), savings=(), labels=(4,), seeds=1)
    (tmp_path / "few.yaml").write_text(few.model_dump_json())
    script, out = shipped("workflows") / "reproduce.py", tmp_path / "out"
    words = [tmp_path / "few.yaml", "--chips", chips.path, "--out", out, "--executor", "ray_tasks"]
    subprocess.run([sys.executable, script, *map(str, words)], check=True)
    mine = {row["key"]: row for row in json.loads((done / "results.json").read_text())}
    rows = json.loads((out / "results.json").read_text())
    assert len(rows) == 3
    for row in rows:
        assert mine[row["key"]] == row


def test_each_pretraining_is_done_once(smoke: Experiment) -> None:
    keys = [unit.key for unit in encoders(smoke)]
    assert len(keys) == len({*keys})
    assert len([key for key in keys if key.startswith("encoders/sscl@")]) == 1
    assert len(cells(smoke)) == len({unit.key for unit in cells(smoke)})
