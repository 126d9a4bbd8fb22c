"""Early stopping: labels that nothing learns from choose the epoch."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from sscl_geo.cli import app
from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card, read_weights
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.fields import labelled
from sscl_geo.io.location import location
from sscl_geo.learn import stopping
from sscl_geo.learn.batches import IGNORED, Batch, Field
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.measuring import windows
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.stopping import STEPS, validation_loss
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import Ranks
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.labels import LabelsRequest, make_labels

EPOCHS = 6


@pytest.fixture(scope="module")
def sides(
    world: Any, learned: Any, dfc2020: Legend, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Labels of the western and of the eastern half of the land."""
    folder, box = tmp_path_factory.mktemp("sides"), world.bbox
    middle = (box.west + box.east) / 2
    whole = LabelsRequest(cube=learned.cube, source=world.truth, legend=dfc2020)
    halves = {
        "west": BBox(box.west, box.south, middle, box.north),
        "east": BBox(middle, box.south, box.east, box.north),
    }
    for name, half in halves.items():
        make_labels(whole.replace(bbox=half), folder / f"{name}.zarr")
    return folder / "west.zarr", folder / "east.zarr"


@pytest.fixture
def request_of(
    learned: Any, sides: tuple[Path, Path], tiny_study: Study
) -> Callable[..., FinetuneRequest]:
    def make(patience: int | None, rate: float = 1e-3, **changes: object) -> FinetuneRequest:
        schedule = tiny_study.finetune.schedule.replace(epochs=EPOCHS, learning_rate=rate)
        numbers = tiny_study.finetune.replace(schedule=schedule, patience=patience)
        fields: dict[str, object] = {
            "imagery": (learned.cube,),
            "labels": sides[:1],
            "encoder": learned.encoder,
            "study": tiny_study.replace(finetune=numbers, window=32, halo=4),
            "validation": (learned.cube,),
            "validation_labels": sides[1:],
        }
        return FinetuneRequest.model_validate({**fields, **changes})

    return make


def losses_of(bundle: Bundle) -> list[float]:
    told = [entry for entry in bundle.history if entry["phase"] == "finetune"]
    return [float(str(entry["validation_loss"])) for entry in told]


def test_a_network_that_gets_worse_is_stopped_and_its_best_epoch_maps(
    request_of: Callable[..., FinetuneRequest],
    world: Any,
    learned: Any,
    dfc2020: Legend,
    tmp_path: Path,
) -> None:
    """In the east every class is called by the name of another."""
    with rasterio.open(world.truth) as file:
        values, profile = file.read(1), file.profile
    names = np.arange(256, dtype=np.uint8)
    names[list(dfc2020.values)] = np.roll(dfc2020.values, 1)
    with rasterio.open(tmp_path / "wrong.tif", "w", **profile) as file:
        file.write(names[values], 1)
    source = LabelsRequest(cube=learned.cube, source=tmp_path / "wrong.tif", legend=dfc2020)
    make_labels(source, tmp_path / "wrong.zarr")
    wanted = request_of(1, rate=2e-2, validation_labels=(tmp_path / "wrong.zarr",))
    bundle = finetune(wanted, tmp_path / "model", Ranks())
    losses = losses_of(bundle)
    assert 2 <= len(losses) < EPOCHS
    assert losses[-1] >= losses[-2] == min(losses)
    assert bundle.training["validation_labels"] == ["wrong.zarr"]
    # What maps scores as the best epoch did.
    network = NetworkSpec.model_validate(bundle.network)
    segmenter = Segmenter(network, len(dfc2020.classes))
    load_weights(segmenter, read_weights(tmp_path / "model", bundle), "model")
    imagery = Cube.open(learned.cube)
    bands = [band.name for band in network.bands]
    wrong = location(tmp_path / "wrong.zarr")
    pairs = labelled([imagery], [wrong], bands, tmp_path / "cache", dfc2020)
    fields = [Field(piece.arrays, classes) for piece, classes in pairs]
    study = wanted.study
    shown = windows(fields, network, study.window, study.seed, study.finetune.sampling)
    draw = partial(shown.batch, rank=0, world=1, device=torch.device("cpu"))
    assert validation_loss(segmenter, draw, 0, 1) == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("teacher", [0.0, 1.0])
def test_to_be_judged_changes_nothing_of_what_is_learned(
    request_of: Callable[..., FinetuneRequest], learned: Any, tmp_path: Path, teacher: float
) -> None:
    wanted = request_of(None)
    if teacher:
        settings = {"average": 0.5, "teacher": {"weight": teacher, "threshold": 0.1, "batch": 2}}
        numbers = {**wanted.study.finetune.model_dump(), "settings": settings}
        study = wanted.study.replace(finetune=numbers)
        wanted = request_of(None, study=study, unlabelled=(learned.cube,))
    judged = finetune(wanted, tmp_path / "judged", Ranks())
    alone = wanted.replace(validation=(), validation_labels=())
    other = finetune(alone, tmp_path / "alone", Ranks())
    assert len(losses_of(judged)) == EPOCHS
    learned_by, learned_alone = (
        [entry["loss"] for entry in bundle.history] for bundle in (judged, other)
    )
    assert learned_by == learned_alone


def test_a_validation_that_does_not_fit_is_refused_and_leaves_nothing(
    request_of: Callable[..., FinetuneRequest], sides: tuple[Path, Path], tmp_path: Path
) -> None:
    cases: dict[str, dict[str, object]] = {
        "need --validation": {"validation": (), "validation_labels": ()},
        "as many --validation-labels as cubes": {"validation_labels": ()},
        "also teaches": {"validation_labels": sides[:1]},
    }
    for cause, changes in cases.items():
        with pytest.raises(InvalidInputError, match=cause):
            finetune(request_of(2, **changes), tmp_path / "model", Ranks())
    assert not list(tmp_path.iterdir())


def test_a_part_of_no_validation_is_refused(tmp_path: Path) -> None:
    words = ["finetune", "--cube", "c.zarr", "--out", str(tmp_path / "m"), "--study", "demo"]
    words += ["--validation-part", "x"]
    with pytest.raises(InvalidInputError, match=r"--validation-part: .* give that too"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_a_validation_without_a_label_is_told(
    request_of: Callable[..., FinetuneRequest], sides: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(sides[1], tmp_path / "empty.zarr")
    classes = Classes.open(tmp_path / "empty.zarr", "labels")
    classes.store.array(f"{classes.grids[0].zone}/{classes.name}")[:] = 0
    wanted = request_of(None, validation_labels=(tmp_path / "empty.zarr",))
    with pytest.raises(InvalidInputError, match=r"cube\.zarr has no labelled pixel"):
        finetune(wanted, tmp_path / "model", Ranks())


def test_the_loss_is_the_mean_over_labelled_pixels_and_ranks_share_the_batches(
    monkeypatch: pytest.MonkeyPatch, learned: Any
) -> None:
    spec = NetworkSpec.model_validate(read_card(learned.model).network)
    torch.manual_seed(0)
    segmenter = Segmenter(spec, 5)

    def draw(step: int) -> Batch:
        random = torch.Generator().manual_seed(step)
        stored = {
            name: torch.randint(
                1, 9000, (2, len(bands), *[320 // bands[0].gsd] * 2), generator=random
            )
            for name, bands in spec.arrays.items()
        }
        labels = torch.randint(0, 5, (2, 32, 32), generator=random)
        labels[torch.rand(labels.shape, generator=random) < 0.1 * (step % 9)] = IGNORED
        return Batch(stored, labels)

    segmenter.eval()
    losses = []
    for step in range(STEPS):
        batch = draw(step)
        bands = segmenter.encoder.normalise(batch.stored)
        with torch.no_grad():
            shares = F.log_softmax(segmenter(bands.values, bands.is_absent), 1)
        assert batch.labels is not None
        for sample, y, x in (batch.labels != IGNORED).nonzero().tolist():
            losses.append(-float(shares[sample, batch.labels[sample, y, x], y, x]))
    expected = sum(losses) / len(losses)
    assert validation_loss(segmenter.train(), draw, 0, 1) == pytest.approx(expected, rel=1e-5)
    assert not segmenter.training
    parts: list[torch.Tensor] = []

    def noted(part: torch.Tensor) -> torch.Tensor:
        parts.append(part)
        return part

    monkeypatch.setattr(stopping, "total_over_ranks", noted)
    for rank in range(3):
        validation_loss(segmenter, draw, rank, 3)
    summed = torch.stack(parts).sum(0)
    assert float(summed[0] / summed[1]) == pytest.approx(expected, rel=1e-5)
    assert int(summed[1]) == len(losses)
