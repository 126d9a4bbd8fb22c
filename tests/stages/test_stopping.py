"""Early stopping: labels that nothing learns from choose the epoch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle, read_card
from sscl_geo.io.cubes import Classes
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.stopping import STEPS, validation_loss
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import Ranks
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.labels import LabelsRequest, make_labels

ZONE = "epsg32633"
EPOCHS = 4


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
            "study": tiny_study.replace(finetune=numbers),
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
    sides: tuple[Path, Path],
    dfc2020: Legend,
    tmp_path: Path,
) -> None:
    """In the east every class is called by the name of another."""
    shutil.copytree(sides[1], tmp_path / "wrong.zarr")
    array = Classes.open(tmp_path / "wrong.zarr", "labels").store.array(f"{ZONE}/labels")
    names = np.arange(256, dtype=np.uint8)
    names[list(dfc2020.values)] = np.roll(dfc2020.values, 1)
    array[:] = names[np.asarray(array[:])]
    wanted = request_of(1, rate=3e-3, validation_labels=(tmp_path / "wrong.zarr",))
    bundle = finetune(wanted, tmp_path / "model", Ranks())
    losses = losses_of(bundle)
    assert 2 <= len(losses) < EPOCHS
    assert losses[-1] >= losses[-2] == min(losses)


def test_to_be_judged_changes_nothing_of_a_run_that_improves_to_its_end(
    request_of: Callable[..., FinetuneRequest], tmp_path: Path
) -> None:
    judged = finetune(request_of(None), tmp_path / "judged", Ranks())
    losses = losses_of(judged)
    assert len(losses) == EPOCHS
    assert losses[-1] == min(losses) < losses[0]
    alone = request_of(None, validation=(), validation_labels=())
    assert finetune(alone, tmp_path / "alone", Ranks()).weights_sha256 == judged.weights_sha256


def test_a_validation_that_does_not_fit_is_refused_and_leaves_nothing(
    request_of: Callable[..., FinetuneRequest], sides: tuple[Path, Path], tmp_path: Path
) -> None:
    cases: dict[str, dict[str, object]] = {
        "need --validation": {"validation": (), "validation_labels": ()},
        "as many --validation-labels as cubes": {"validation_labels": ()},
        "teaches too": {"validation_labels": sides[:1]},
    }
    for cause, changes in cases.items():
        with pytest.raises(InvalidInputError, match=cause):
            finetune(request_of(2, **changes), tmp_path / "model", Ranks())
    assert not list(tmp_path.iterdir())


def test_the_loss_is_the_mean_over_labelled_pixels_whatever_the_ranks(learned: Any) -> None:
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
