"""Finetuning: its losses against plain formulas, withheld bands, and the teacher."""

import copy
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.batches import IGNORED, Batch, Field, joined
from sscl_geo.learn.degradations import BlurSpec, DegradationSpec, band_groups, degrade
from sscl_geo.learn.measuring import STEPS, WINDOWS, measure_statistics, windows
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.supervised import Finetune, FinetuneSettings, dice_loss

SHARES = torch.tensor([0.7, 0.2, 0.1])


def network(*, has_masks: bool = False, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    numbers = {"gsd": 10, "nodata": 0, "low": 0.0, "high": 99.0, "mean": 50.0, "spread": 20.0}
    bands = tuple(
        BandInput.model_validate({"name": name, "array": array, **numbers})
        for name, array in (
            ("sentinel2_l2a:B02", "o"),
            ("sentinel2_l2a:B11", "o"),
            ("sentinel1_rtc:VV", "r"),
        )
    )
    backbone = BackboneSpec(depth=18, width=4, output_stride=4, rates=(1,), context_width=8)
    spec = NetworkSpec(
        bands=bands, features=FeatureSpec(layers=1, width=2), backbone=backbone, has_masks=has_masks
    )
    return Segmenter(spec, 3)


def batch(seed: int = 0, *, labelled: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    stored = {
        name: torch.randint(1, 99, (4, count, 16, 16), generator=generator)
        for name, count in (("o", 2), ("r", 1))
    }
    labels = torch.randint(0, 3, (4, 16, 16), generator=generator)
    labels[:, :3] = IGNORED
    return Batch(stored, labels if labelled else None)


def task(segmenter: Segmenter, **settings: Any) -> Finetune:
    return Finetune(segmenter, FinetuneSettings.model_validate(settings), SHARES)


def loss_of(model: Finetune, given: Batch, seed: int = 1) -> torch.Tensor:
    loss: torch.Tensor = model(given, torch.Generator().manual_seed(seed))
    return loss


def logits_of(segmenter: Segmenter, given: Batch) -> torch.Tensor:
    bands = segmenter.encoder.normalise(given.stored)
    logits: torch.Tensor = segmenter(bands.values, bands.is_absent)
    return logits


def test_the_plain_loss_is_cross_entropy_over_labelled_pixels() -> None:
    model, given = task(network()).eval(), batch()
    logits, labels = logits_of(model.segmenter, given), given.labels
    assert labels is not None
    known = labels != IGNORED
    expected = F.cross_entropy(logits.movedim(1, -1)[known], labels[known])
    assert torch.allclose(loss_of(model, given), expected, atol=1e-6)


def test_logit_adjustment_adds_the_log_of_the_shares() -> None:
    given = batch()
    model = task(network(), loss={"prior": 1.5}).eval()
    adjusted = logits_of(model.segmenter, given) + 1.5 * SHARES.log()[None, :, None, None]
    assert given.labels is not None
    expected = F.cross_entropy(adjusted, given.labels, ignore_index=IGNORED)
    assert torch.allclose(loss_of(model, given), expected, atol=1e-6)


def test_rare_classes_count_more_with_a_frequency_exponent() -> None:
    given = batch()
    model = task(network(), loss={"frequency": 0.5}).eval()
    assert given.labels is not None
    weight = (SHARES / SHARES.mean()) ** -0.5
    expected = F.cross_entropy(
        logits_of(model.segmenter, given), given.labels, weight, ignore_index=IGNORED
    )
    assert torch.allclose(loss_of(model, given), expected, atol=1e-6)


@pytest.mark.parametrize("loss", [{"prior": 1.0}, {"frequency": 0.5, "smoothing": 0.1}])
def test_a_class_without_labels_is_neither_favoured_nor_held_down(loss: dict[str, float]) -> None:
    given = batch()
    assert given.labels is not None
    given.labels[given.labels == 2] = IGNORED
    shares = torch.tensor([0.7, 0.3, 0.0])
    model = Finetune(network(), FinetuneSettings.model_validate({"loss": loss}), shares).eval()
    logits = logits_of(model.segmenter, given).detach()
    logits.requires_grad_()
    adjusted = logits + loss.get("prior", 0) * torch.tensor([0.7, 0.3, 1.0]).log()[:, None, None]
    weight = torch.tensor([1.4, 0.6, 1.0]) ** -loss.get("frequency", 0)
    expected = F.cross_entropy(
        adjusted,
        given.labels,
        weight,
        ignore_index=IGNORED,
        label_smoothing=loss.get("smoothing", 0),
    )
    assert torch.allclose(loss_of(model, given), expected, atol=1e-6)


HARD_LOSS = {"prior": 1.0, "frequency": 0.5, "dice": 0.5, "smoothing": 0.1}


@pytest.mark.parametrize("loss", [{}, HARD_LOSS])
def test_labels_of_one_class_alone_teach_that_class(loss: dict[str, float]) -> None:
    given = batch()
    assert given.labels is not None
    given.labels[given.labels != IGNORED] = 1
    settings = FinetuneSettings.model_validate({"loss": loss})
    model = Finetune(network(), settings, torch.tensor([0.0, 1.0, 0.0])).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        found = loss_of(model, given)
        torch.autograd.backward(found)
        optimizer.step()
        losses.append(float(found.detach()))
    assert losses[-1] < losses[0]
    assert (logits_of(model.segmenter.eval(), given).argmax(1) == 1).all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": HARD_LOSS},
        {"protocol": "linear"},
        {"average": 0.5, "teacher": {"weight": 1.0, "threshold": 0.0}},
    ],
)
@pytest.mark.parametrize("missing", [0, math.nan])
def test_labels_on_unobserved_ground_leave_everything_finite(
    settings: dict[str, Any], missing: float
) -> None:
    empty = batch(7)
    empty = empty._replace(
        stored={n: torch.full_like(array.float(), missing) for n, array in empty.stored.items()}
    )
    given = empty
    if "teacher" in settings:
        given = joined([empty, empty._replace(labels=None)])
    model = task(network(has_masks=True), **settings).train()
    loss = loss_of(model, given)
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_statistics_are_measured_without_dropout_and_left_in_inference() -> None:
    encoder = network().encoder
    given = [batch(seed) for seed in range(3)]
    measure_statistics(encoder, lambda step: given[step % 3])
    assert not any(module.training for module in encoder.modules())
    first, norm = encoder.features.layers[0], encoder.features.layers[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    means = []
    for step in range(STEPS):
        bands = encoder.normalise(given[step % 3].stored).values
        means.append(first(bands.reshape(-1, 1, 16, 16)).mean((0, 2, 3)))
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-5)


def test_statistics_of_windows_fit_windows_where_those_of_patches_do_not() -> None:
    encoder = network().encoder
    rng = np.random.default_rng(0)
    stored = {"o": rng.integers(1, 99, (2, 64, 64)), "r": rng.integers(1, 99, (1, 64, 64))}
    field = Field(stored, None)
    bands = encoder.normalise({name: torch.from_numpy(a)[None] for name, a in stored.items()})

    def misfit(window: int) -> float:
        """Return how far, in spreads, deep maps of the field lie from what is held usual."""
        drawn = windows([field], encoder.spec, window, 0)
        measure_statistics(encoder, lambda step: drawn.batch(step, 0, 1, torch.device("cpu")))
        norm = encoder.get_submodule("backbone.pyramid.image.1")
        assert isinstance(norm, torch.nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        seen: list[torch.Tensor] = []
        hook = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        with torch.no_grad():
            encoder(bands.values, bands.is_absent)
        hook.remove()
        off = (seen[0].mean((0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()
        return float(off.abs().mean())

    assert misfit(8) > 3 * misfit(64)
    assert misfit(64) == misfit(1024)  # no larger window fits


def test_windows_are_smaller_where_little_ground_was_observed() -> None:
    seen = np.zeros((2, 64, 64), np.int64)
    seen[:, :24, :24] = 50
    spec = network().encoder.spec
    drawn = windows([Field({"o": seen, "r": seen[:1]}, None)], spec, 64, 0)
    batch = drawn.batch(0, 0, 1, torch.device("cpu"))
    assert batch.stored["o"].shape == (WINDOWS, 2, 32, 32)
    assert (batch.stored["o"] != 0).flatten(1).float().mean(1).min() >= 0.5
    nothing = Field({"o": np.zeros_like(seen), "r": np.zeros_like(seen[:1])}, None)
    with pytest.raises(InvalidInputError, match="no field has room"):
        windows([nothing], spec, 64, 0)


def test_dice_is_zero_for_the_truth_and_large_for_its_opposite() -> None:
    labels = torch.tensor([[[0, 0, 1, IGNORED], [0, 1, 1, IGNORED]]])
    truth = F.one_hot(labels.where(labels != IGNORED, 0), 3).movedim(-1, 1) * 50.0
    assert dice_loss(truth, labels) < 1e-3
    assert dice_loss(truth.roll(1, 1), labels) > 0.5
    other = truth.clone()
    other[..., 3] = -other[..., 3]
    assert torch.allclose(dice_loss(other, labels), dice_loss(truth, labels))


def test_a_batch_without_labels_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs labels"):
        loss_of(task(network()), batch(labelled=False))


def test_a_linear_protocol_moves_the_head_alone() -> None:
    model = task(network(), protocol="linear").train()
    torch.autograd.backward(loss_of(model, batch()))
    assert not model.segmenter.encoder.training
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"segmenter.head.layer.weight", "segmenter.head.layer.bias"}


def test_withheld_bands_are_absent_and_their_vectors_learn() -> None:
    model = task(network(has_masks=True), withhold={"sensor": 0.6}).train()
    torch.autograd.backward(loss_of(model, batch()))
    masks = model.segmenter.encoder.masks
    assert masks is not None
    assert masks.grad is not None
    assert masks.grad.abs().sum() > 0


def test_an_absent_band_is_what_its_vector_says_whatever_its_pixels_hold() -> None:
    segmenter = network(has_masks=True).eval()
    assert segmenter.encoder.masks is not None
    with torch.no_grad():
        segmenter.encoder.masks.uniform_(-1, 1)
    values = torch.randn(2, 3, 16, 16)
    absent = torch.tensor([[False, False, True]] * 2)
    other = values.clone()
    other[:, 2] = torch.randn(2, 16, 16)
    assert torch.equal(segmenter(values, absent), segmenter(other, absent))
    assert not torch.allclose(segmenter(values, absent), segmenter(values))


def test_the_average_follows_the_weights_and_is_what_maps() -> None:
    model = task(network(), average=0.5).train()
    assert model.average is model.result
    name = "head.layer.weight"
    before = model.average.state_dict()[name].clone()
    with torch.no_grad():
        model.segmenter.head.layer.weight += 1
    model.after_step()
    decay = min(0.5, 2 / 11)
    assert torch.allclose(model.average.state_dict()[name], before + (1 - decay), atol=1e-6)


def test_a_teacher_teaches_only_what_it_is_sure_of() -> None:
    both = joined([batch(), batch(7, labelled=False)])
    settings = {"average": 0.5, "teacher": {"weight": 1.0, "threshold": 0.999}}
    unsure = task(network(), **settings).eval()
    sure = task(network(), **{**settings, "teacher": {"weight": 1.0, "threshold": 0.0}}).eval()
    alone = loss_of(task(network()).eval(), batch())
    assert torch.allclose(loss_of(unsure, both), alone, atol=1e-5)
    # A random teacher's classes are learned with about log(3) nats a pixel.
    assert 0.3 < float((loss_of(sure, both) - alone).detach()) < 3 * math.log(3)


def test_the_average_names_clean_ground_and_the_student_learns_it_damaged() -> None:
    damage = DegradationSpec(cutouts=2, blur=BlurSpec(probability=1.0))
    teacher = {"weight": 0.7, "threshold": 0.5, "degradation": damage}
    jitter = {"gain": 0.1, "shift": 0.2}
    model = task(network(has_masks=True), average=0.5, jitter=jitter, teacher=teacher)
    assert model.average is not None
    model.average.load_state_dict(network(has_masks=True, seed=1).state_dict())
    measure_statistics(model.average.encoder, batch)
    for one in (model.segmenter, model.average):
        assert one.encoder.masks is not None
        torch.nn.init.normal_(one.encoder.masks)
        one.head.layer.weight.data *= 3
    given, known, unknown = batch(), [0, 2], [1, 3]
    assert given.labels is not None
    given.labels[unknown] = IGNORED
    given.stored["o"][1, :, :7, :11] = 0
    given.stored["r"][1, :, :11, :7] = 0
    given.stored["r"][3] = 0
    model.train()
    torch.manual_seed(6)
    found = loss_of(model, given)

    bands = model.segmenter.encoder.normalise(given.stored)
    generator = torch.Generator().manual_seed(1)
    gain, shift = (torch.randn(2, 3, 1, 1, generator=generator) for _ in "ab")
    jittered = bands.values[known] * (1 + 0.1 * gain) + 0.2 * shift
    clean, is_absent = bands.values[unknown], bands.is_absent[unknown]
    groups = band_groups(model.segmenter.encoder.spec)
    strong = degrade(clean, is_absent, groups, damage, generator)
    hidden = torch.cat([bands.is_absent[known], is_absent | strong.is_dropped])
    torch.manual_seed(6)
    logits = model.segmenter(torch.cat([jittered, strong.bands]), hidden)
    named = torch.softmax(copy.deepcopy(model.average).eval()(clean, is_absent), 1)
    unsure = unseen = 0
    taught = torch.zeros(())
    for sample, y, x in product(range(2), range(16), range(16)):
        probability, name = named[sample, :, y, x].max(0)
        if probability < 0.5:
            unsure += 1
        elif not bands.is_valid[unknown][sample, :, y, x].any():
            unseen += 1
        else:
            taught = taught - torch.log_softmax(logits[2 + sample, :, y, x], 0)[name]
    assert unsure > 50
    assert unseen > 10
    assert 2 * 256 - unsure - unseen > 50
    labels = given.labels[known]
    expected = F.cross_entropy(logits[:2], labels, ignore_index=IGNORED) + 0.7 * taught / 512
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"teacher": {"weight": 1.0}}, "set `average`"),
        ({"withhold": {"band": 0.1}}, "set `has_masks`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], cause: str) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        FinetuneSettings.model_validate(settings).check(has_masks=False)


def test_unlabelled_samples_have_labels_of_the_size_of_the_others() -> None:
    coarse = {"r20m/s2": torch.zeros(2, 3, 8, 8)}
    both = joined([Batch(coarse, torch.zeros(2, 16, 16, dtype=torch.long)), Batch(coarse, None)])
    assert both.labels is not None
    assert both.labels.shape == (4, 16, 16)
    assert (both.labels[2:] == IGNORED).all()
