"""Pretraining and finetuning as stages: in process, on Ray, resumed, submitted as a job."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch._inductor import config as inductor

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.experiment.matrix import merged
from sscl_geo.io.bundle import CARD, read_card, read_weights, write_bundle
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import labelled, opened
from sscl_geo.learn.batches import Field
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.measuring import measure_statistics
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.patches import DrawSpec, Patches
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import Ranks, running
from sscl_geo.stages.cut import CutSpec, cut_chips
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.pretrain import PretrainRequest, pretrain

ROOT = Path(__file__).parents[2]


def request(learned: Any, study: Study, **changes: object) -> FinetuneRequest:
    fields = {
        "imagery": (learned.cube,),
        "labels": (learned.labels,),
        "encoder": learned.encoder,
        "study": study,
    }
    return FinetuneRequest.model_validate({**fields, **changes})


def test_the_same_seed_learns_the_same_weights(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    again = pretrain(
        PretrainRequest(imagery=(learned.cube,), study=tiny_study), tmp_path / "encoder", Ranks()
    )
    assert again.weights_sha256 == read_card(learned.encoder).weights_sha256
    other = pretrain(
        PretrainRequest(imagery=(learned.cube,), study=tiny_study.replace(seed=9)),
        tmp_path / "other",
        Ranks(),
    )
    assert other.weights_sha256 != again.weights_sha256


def test_features_computed_again_learn_the_same_weights(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    ranks = Ranks(recomputes=True)
    wanted = PretrainRequest(imagery=(learned.cube,), study=tiny_study)
    encoder = pretrain(wanted, tmp_path / "encoder", ranks)
    assert encoder.weights_sha256 == read_card(learned.encoder).weights_sha256
    model = finetune(request(learned, tiny_study), tmp_path / "model", ranks)
    assert model.weights_sha256 == read_card(learned.model).weights_sha256


@pytest.mark.filterwarnings("ignore")  # torch warns of itself
def test_to_compile_without_a_compiler_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    ranks = Ranks(compiles=True)
    wanted = PretrainRequest(imagery=(learned.cube,), study=tiny_study)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        with pytest.raises(InvalidInputError, match=r"--compile: .* install a C") as told:
            pretrain(wanted, tmp_path / "encoder", ranks)
        with pytest.raises(InvalidInputError, match=r"--compile: .* install a C"):
            finetune(request(learned, tiny_study), tmp_path / "model", ranks)
    assert len(str(told.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_finetuning_starts_from_the_encoder_and_moves_it(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    still = tiny_study.finetune.schedule.replace(epochs=1, steps=1, learning_rate=1e-12)
    study = tiny_study.replace(finetune=tiny_study.finetune.replace(schedule=still))
    bundle = finetune(request(learned, study), tmp_path / "still", Ranks())
    before = read_weights(learned.encoder, read_card(learned.encoder))
    after = read_weights(tmp_path / "still", bundle)
    name = "features.layers.0.weight"
    assert np.allclose(after[f"encoder.{name}"], before[name], atol=1e-6)
    moved = read_weights(learned.model, read_card(learned.model))
    assert not np.allclose(moved[f"encoder.{name}"], before[name], atol=1e-6)


def test_batch_statistics_are_those_of_windows_unless_a_head_learned_on_others(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    smaller = tiny_study.replace(window=32)
    finetuned = tiny_study.finetune
    linear = finetuned.replace(settings=finetuned.settings.replace(protocol="linear"))

    def differ(one: Path, other: Path) -> set[str]:
        """Return the kinds of weights that two bundles do not share."""
        first, second = (read_weights(path, read_card(path)) for path in (one, other))
        return {n.rpartition(".")[2] for n in first if not np.array_equal(first[n], second[n])}

    pretrain(PretrainRequest(imagery=(learned.cube,), study=smaller), tmp_path / "e", Ranks())
    assert differ(tmp_path / "e", learned.encoder) == {"running_mean", "running_var"}
    finetune(request(learned, smaller), tmp_path / "m", Ranks())
    assert differ(tmp_path / "m", learned.model) == {"running_mean", "running_var"}
    for name, study in (("large", tiny_study), ("small", smaller)):
        finetune(request(learned, study.replace(finetune=linear)), tmp_path / name, Ranks())
    assert not differ(tmp_path / "large", tmp_path / "small")


def test_a_predictor_of_a_steady_rate_learns_other_weights(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    first = tiny_study.pretexts[0]
    weights = set()
    for is_steady in (False, True):
        settings = {"width": 8, "hidden": 4, "is_predictor_steady": is_steady}
        simsiam = first.replace(name="simsiam", settings=settings)
        study = tiny_study.replace(pretexts=(simsiam,))
        path = tmp_path / str(is_steady)
        bundle = pretrain(PretrainRequest(imagery=(learned.cube,), study=study), path, Ranks())
        weights.add(bundle.weights_sha256)
    assert len(weights) == 2


@pytest.mark.parametrize("begins", ["random", "pretrained"])
def test_a_linear_protocol_classifies_by_statistics_of_the_patches_that_it_draws(
    learned: Any, tiny_study: Study, tmp_path: Path, begins: str
) -> None:
    numbers = {**tiny_study.finetune.model_dump(), "settings": {"protocol": "linear"}}
    study = tiny_study.replace(finetune=numbers)
    first = learned.encoder if begins == "pretrained" else None
    card = finetune(request(learned, study, encoder=first), tmp_path / "model", Ranks())
    found = read_weights(tmp_path / "model", card)

    spec, legend = NetworkSpec.model_validate(card.network), card.legend
    assert legend is not None
    torch.manual_seed(study.seed)
    expected = Segmenter(spec, len(legend.classes)).encoder
    if first is not None:
        load_weights(expected, read_weights(first, read_card(first)), "encoder")
    names = [band.name for band in spec.bands]
    cube = opened(Selection(path=learned.cube))
    pieces = labelled([cube], [learned.labels], names, tmp_path / "cache", legend)
    fields = tuple(Field(piece.arrays, classes) for piece, classes in pieces)
    schedule = study.finetune.schedule
    draw = DrawSpec(schedule.patch, schedule.batch, study.seed, study.finetune.sampling)
    drawn = Patches(fields, spec, draw)
    unmeasured = {name: value.numpy().copy() for name, value in expected.state_dict().items()}
    measure_statistics(expected, lambda step: drawn.batch(step, 0, 1, torch.device("cpu")))

    for name, value in expected.state_dict().items():
        assert np.allclose(found[f"encoder.{name}"], value, rtol=1e-4, atol=1e-6), name
    means = [name for name in unmeasured if name.endswith("running_mean")]
    assert not any(np.allclose(found[f"encoder.{name}"], unmeasured[name]) for name in means)


def test_a_bundle_holds_what_it_was_trained_with(learned: Any) -> None:
    bundle = read_card(learned.model)
    assert [entry["phase"] for entry in bundle.history] == ["unifeat"] * 2 + ["core"] * 2 + [
        "finetune"
    ] * 2
    assert bundle.legend is not None
    assert len(bundle.network["bands"]) == 14  # type: ignore[arg-type]
    assert not (learned.model / "run").exists()
    assert not (learned.model / "cache").exists()


def test_another_study_on_the_same_folder_is_refused(learned: Any, tiny_study: Study) -> None:
    with pytest.raises(PlanConflictError, match=r"study\.seed is 3 there and 4 here"):
        pretrain(
            PretrainRequest(imagery=(learned.cube,), study=tiny_study.replace(seed=4)),
            learned.encoder,
            Ranks(),
        )


def test_a_study_of_other_periods_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    thirds = tiny_study.replace(periods=3)
    with pytest.raises(InvalidInputError, match="has 2 periods, not a multiple of the 3"):
        pretrain(PretrainRequest(imagery=(learned.cube,), study=thirds), tmp_path / "e", Ranks())
    with pytest.raises(InvalidInputError, match="has 2 periods, not a multiple of the 3"):
        finetune(request(learned, thirds, encoder=None), tmp_path / "m", Ranks())
    assert not list(tmp_path.iterdir())


def test_as_many_labels_as_cubes_are_needed(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="as many --labels as cubes"):
        finetune(request(learned, tiny_study, labels=()), tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        (
            {"average": 0.9, "teacher": {"weight": 1.0}},
            "work only together; give both",
        ),
        ({"teacher": {"weight": 1.0}}, "set `average`"),
        ({"withhold": {"band": 0.2}}, "set `has_masks`"),
    ],
)
def test_settings_that_do_not_fit_are_refused_and_leave_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path, settings: Any, cause: str
) -> None:
    numbers = {**tiny_study.finetune.model_dump(), "settings": settings}
    study = tiny_study.replace(finetune=numbers)
    with pytest.raises(InvalidInputError, match=cause):
        finetune(request(learned, study), tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"backbone": {"name": "deeplabv3x"}}, "'deeplabv3x': unknown"),
        ({"init": {"name": "imagenet", "settings": {"weights": "absent.pth"}}}, "no such file"),
        ({"features": {"layers": 0, "width": 1}}, "UniFeat trains the feature extractor"),
        ({"settings": {"sides": 3}}, "settings of unifeat"),
        ({"schedule": {"head_learning_rate": 0.1}}, "unifeat: head_learning_rate is of finetuning"),
    ],
)
def test_a_study_that_makes_no_network_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path, changes: Any, cause: str
) -> None:
    numbers = tiny_study.model_dump()
    if "settings" in changes or "schedule" in changes:
        changes = {"pretexts": [merged(numbers["pretexts"][0], changes)]}
    study = tiny_study.replace(**changes)
    with pytest.raises(InvalidInputError, match=cause):
        pretrain(PretrainRequest(imagery=(learned.cube,), study=study), tmp_path / "e", Ranks())
    if "backbone" in changes or "init" in changes:
        with pytest.raises(InvalidInputError, match=cause):
            finetune(request(learned, study, encoder=None), tmp_path / "m", Ranks())
    assert not list(tmp_path.iterdir())


def test_an_only_sensor_is_not_withheld(learned: Any, tiny_study: Study, tmp_path: Path) -> None:
    settings = {"withhold": {"sensor": 0.5}}
    study = tiny_study.replace(
        inputs=("sentinel1_rtc",),
        has_masks=True,
        finetune={**tiny_study.finetune.model_dump(), "settings": settings},
    )
    with pytest.raises(InvalidInputError, match="without its only sensor, sentinel1_rtc"):
        finetune(request(learned, study, encoder=None), tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


def test_one_process_at_a_time_trains_in_a_folder(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    finetune(request(learned, tiny_study), out, Ranks())
    (out / CARD).unlink()
    with running(out), pytest.raises(PlanConflictError, match="trains there already"):
        finetune(request(learned, tiny_study), out, Ranks())
    finetune(request(learned, tiny_study), out, Ranks())


def test_decoded_imagery_may_be_shared_and_then_outlives_the_run(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    finetune(request(learned, tiny_study), tmp_path / "model", Ranks(), shared)
    made = {path: path.stat().st_mtime_ns for path in shared.rglob("*.npy")}
    assert made
    wanted = PretrainRequest(imagery=(learned.cube,), study=tiny_study)
    pretrain(wanted, tmp_path / "encoder", Ranks(), shared)
    again = {path: path.stat().st_mtime_ns for path in shared.rglob("*.npy")}
    assert again.items() >= made.items()
    assert not [path for out in ("model", "encoder") for path in (tmp_path / out).rglob("*.npy")]


def test_a_cluster_without_ranks_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"--ray ray://far:1: without --ranks"):
        Ranks(address="ray://far:1")


def test_balance_is_corrected_once(learned: Any, tiny_study: Study, tmp_path: Path) -> None:
    numbers = {"sampling": "classes", "settings": {"loss": {"prior": 1.0}}}
    study = tiny_study.replace(finetune={**tiny_study.finetune.model_dump(), **numbers})
    with pytest.raises(InvalidInputError, match="would correct that once more"):
        finetune(request(learned, study), tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


def test_chips_and_cubes_do_not_mix(learned: Any, tiny_study: Study, tmp_path: Path) -> None:
    chips = tmp_path / "chips.zarr"
    cut_chips(learned.cube, learned.labels, CutSpec(side_px=32, block_m=640), chips)
    mixed = PretrainRequest(imagery=(learned.cube, chips), study=tiny_study)
    with pytest.raises(InvalidInputError, match=r"chips\.zarr: chips and cubes do not mix"):
        pretrain(mixed, tmp_path / "encoder", Ranks())
    settings = {"average": 0.9, "teacher": {"weight": 1.0, "batch": 4}}
    study = tiny_study.replace(finetune={**tiny_study.finetune.model_dump(), "settings": settings})
    with pytest.raises(InvalidInputError, match=r"chips\.zarr: is not stored as"):
        finetune(request(learned, study, unlabelled=(chips,)), tmp_path / "model", Ranks())
    places = [chip.place for chip in Chips.open(chips).chips]
    other = next(number for number, place in enumerate(places) if place != places[0])
    one, another = (Selection(path=chips, samples=(number,)) for number in (0, other))
    judged = FinetuneRequest(
        imagery=(one,),
        study=study.replace(pretexts=()),
        unlabelled=(another,),
        validation=(another,),
    )
    with pytest.raises(InvalidInputError, match="places that --validation judges by"):
        finetune(judged, tmp_path / "model", Ranks())
    assert [path.name for path in tmp_path.iterdir()] == ["chips.zarr"]


def test_an_input_that_nobody_has_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    study = tiny_study.replace(inputs=("sentinel2_l2a:B99",))
    with pytest.raises(InvalidInputError, match="inputs sentinel2_l2a:B99: choose among"):
        pretrain(PretrainRequest(imagery=(learned.cube,), study=study), tmp_path / "e", Ranks())
    with pytest.raises(InvalidInputError, match="inputs sentinel2_l2a:B99: choose among"):
        finetune(request(learned, study, encoder=None), tmp_path / "m", Ranks())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["stray", "nothing"])
def test_labels_that_teach_nothing_are_refused(
    learned: Any, tiny_study: Study, tmp_path: Path, kind: str
) -> None:
    shutil.copytree(learned.labels, tmp_path / "labels.zarr")
    classes = Classes.open(tmp_path / "labels.zarr", "labels")
    array = classes.store.array(f"{classes.grids[0].zone}/{classes.name}")
    if kind == "stray":
        array[0, 0], cause = 200, r"labels\.zarr holds the values \[200\]"
    else:
        array[:], cause = 0, "no field has labels"
    wanted = request(learned, tiny_study, labels=(tmp_path / "labels.zarr",))
    with pytest.raises(InvalidInputError, match=cause):
        finetune(wanted, tmp_path / "model", Ranks())


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"name": "sentinel2_l2a:B10"}, "lacks the bands sentinel2_l2a:B10"),
        ({"gsd": 60}, "is stored as .* chips and cubes do not mix"),
    ],
)
def test_an_encoder_of_other_bands_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path, fields: dict[str, object], cause: str
) -> None:
    bundle = read_card(learned.encoder)
    network = json.loads(json.dumps(bundle.network))
    network["bands"][0].update(fields)
    weights = read_weights(learned.encoder, bundle)
    write_bundle(tmp_path / "encoder", bundle.replace(network=network), weights)
    wanted = request(learned, tiny_study, encoder=tmp_path / "encoder")
    with pytest.raises(InvalidInputError, match=cause):
        finetune(wanted, tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"reflectance": "linear"}, "other reflectance than"),
        ({"features": {"layers": 2, "width": 2}, "has_masks": True}, "other features and has_mask"),
        ({"periods": 2}, "other periods than"),
        ({"inputs": ("sentinel1_rtc",)}, "other inputs than"),
        ({"inputs": ("sentinel1_rtc", "sentinel2_l2a", "hls_l30")}, "other inputs than"),
    ],
)
def test_an_encoder_of_another_study_is_refused_and_leaves_nothing(
    learned: Any, tiny_study: Study, tmp_path: Path, changes: dict[str, object], cause: str
) -> None:
    wanted = request(learned, tiny_study.replace(**changes), encoder=learned.encoder)
    with pytest.raises(InvalidInputError, match=cause):
        finetune(wanted, tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


def test_a_model_is_no_encoder(learned: Any, tiny_study: Study, tmp_path: Path) -> None:
    wanted = request(learned, tiny_study, encoder=learned.model)
    with pytest.raises(InvalidInputError, match="is a finetuned model"):
        finetune(wanted, tmp_path / "model", Ranks())
    assert not (tmp_path / "model").exists()


def test_a_teacher_does_not_take_a_batch_in_parts(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    schedule = tiny_study.finetune.schedule.replace(accumulate=2)
    settings = {"average": 0.9, "teacher": {"weight": 1.0}}
    study = tiny_study.replace(finetune={"schedule": schedule, "settings": settings})
    wanted = request(learned, study, unlabelled=(learned.cube,))
    with pytest.raises(InvalidInputError, match="accumulate does not go with a teacher"):
        finetune(wanted, tmp_path / "model", Ranks())


def test_a_teacher_learns_from_a_cube_beside_the_labels(
    learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    settings = {"average": 0.9, "teacher": {"weight": 1.0, "threshold": 0.1, "batch": 2}}
    numbers = {**tiny_study.finetune.model_dump(), "settings": settings}
    study = tiny_study.replace(finetune=numbers)
    with_ground = request(learned, study, unlabelled=(learned.cube,))
    taught = finetune(with_ground, tmp_path / "taught", Ranks())
    alone = tiny_study.replace(finetune={**numbers, "settings": {"average": 0.9}})
    untaught = finetune(request(learned, alone), tmp_path / "alone", Ranks())
    assert taught.weights_sha256 != untaught.weights_sha256


@pytest.fixture(scope="module")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of clients of a Ray cluster on this machine that asks for a token."""
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "PYTHONPATH": str(ROOT),
    }
    folder = tmp_path_factory.mktemp("ray")
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(
            [
                *(f"{scripts}/ray", "start", "--head", "--block", "--port=26379"),
                *("--dashboard-port=28265", "--dashboard-agent-listen-port=28266"),
                *("--dashboard-agent-grpc-port=28267", "--num-cpus=2", "--disable-usage-stats"),
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(28265, head, folder / "head.log")
            yield {**environment, "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:28265"}
        finally:
            family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
            head.terminate()
            for survivor in psutil.wait_procs(family, timeout=10)[1]:
                survivor.kill()
            head.wait()


def _wait_for(port: int, head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert head.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(1)
                return
        time.sleep(0.2)
    pytest.fail(log.read_text())


def _submitted(job: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Submit a job; the head takes none until its agent is up, some seconds after its port."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            job, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180
        )
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.mark.cluster
def test_a_submitted_job_pretrains(ray_head: dict[str, str], learned: Any, tmp_path: Path) -> None:
    study = ROOT / "tests" / "stages" / "tiny.yaml"
    job = [
        *(f"{sysconfig.get_path('scripts')}/ray", "job", "submit", "--working-dir", "workflows"),
        *("--", sys.executable, "pretrain.py", "--cube", str(learned.cube)),
        *("--out", str(tmp_path / "encoder"), "--study", str(study), "--ranks", "1"),
    ]
    done = _submitted(job, ray_head)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    bundle = read_card(tmp_path / "encoder")
    assert [entry["phase"] for entry in bundle.history] == ["unifeat"] * 2 + ["core"] * 2
