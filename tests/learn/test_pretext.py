"""Pretext tasks: what they compute, and on ground that was not, or hardly, observed."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from sscl_geo import plugins
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.degradations import BlurSpec, DegradationSpec, band_groups, degrade
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.views import drawn_view

TASKS: list[tuple[str, dict[str, Any]]] = [
    ("unifeat", {"dim": 4}),
    ("core", {}),
    ("simsiam", {"width": 8, "hidden": 4}),
    ("simsiam", {"width": 8, "hidden": 4, "level": "dense"}),
    ("pixif", {"pixel_dim": 4, "image_dim": 4}),
    ("pixif", {"pixel_dim": 4, "image_dim": 4, "reduce": "mean"}),
]
NODATA = 0


def task(name: str, settings: dict[str, Any]) -> torch.nn.Module:
    numbers = {"gsd": 10, "nodata": NODATA, "low": 0.0, "high": 99.0, "mean": 50.0, "spread": 20.0}
    bands = tuple(
        BandInput.model_validate({"name": band, "array": array, **numbers})
        for band, array in (
            ("sentinel2_l2a:B02", "o"),
            ("sentinel2_l2a:B11", "o"),
            ("sentinel1_rtc:VV", "r"),
        )
    )
    backbone = BackboneSpec(depth=18, width=4, output_stride=4, rates=(1,), context_width=8)
    torch.manual_seed(0)
    encoder = Encoder(
        NetworkSpec(bands=bands, features=FeatureSpec(layers=2, width=2), backbone=backbone)
    )
    plugin = plugins.find("sscl_geo.learn.pretext", name)
    built: torch.nn.Module = plugin.build(encoder, plugin.Settings.model_validate(settings))
    return built.train()


def stored() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(1, 99, (4, count, 16, 16), generator=generator).float()
        for name, count in (("o", 2), ("r", 1))
    }


def nothing(arrays: dict[str, Tensor]) -> None:
    for array in arrays.values():
        array.fill_(NODATA)


def one_patch_left(arrays: dict[str, Tensor]) -> None:
    for array in arrays.values():
        array[1:] = NODATA


def no_radar(arrays: dict[str, Tensor]) -> None:
    arrays["r"].fill_(NODATA)


def learned(name: str, settings: dict[str, Any], arrays: dict[str, Tensor]) -> tuple[Tensor, Any]:
    """Return the loss of a batch, and the weights and statistics after a step on it."""
    model = task(name, settings)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss: Tensor = model(Batch(arrays, None), torch.Generator().manual_seed(0))
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach(), model.state_dict()


@pytest.mark.parametrize(("name", "settings"), TASKS)
@pytest.mark.parametrize("emptied", [nothing, one_patch_left, no_radar])
def test_a_step_on_unobserved_patches_leaves_everything_finite(
    name: str, settings: dict[str, Any], emptied: Callable[[dict[str, Tensor]], None]
) -> None:
    arrays = stored()
    emptied(arrays)
    loss, state = learned(name, settings, arrays)
    assert loss.isfinite()
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("name", ["unifeat", "core"])
def test_from_unobserved_patches_nothing_is_learned(name: str) -> None:
    arrays = stored()
    nothing(arrays)
    loss, state = learned(name, {}, arrays)
    assert loss == 0
    before = task(name, {})
    assert all(torch.equal(state[n], weight) for n, weight in before.named_parameters())


@pytest.mark.parametrize(("name", "settings"), TASKS)
def test_what_is_no_number_is_as_nodata(name: str, settings: dict[str, Any]) -> None:
    seen = []
    for missing in (NODATA, torch.nan):
        arrays = stored()
        arrays["o"][:2, :, 3:7, 2:9] = missing
        arrays["r"][1:, :, 0] = missing
        seen.append(learned(name, settings, arrays))
    (loss, state), (other, others) = seen
    assert loss == other
    assert all(torch.equal(value, others[n]) for n, value in state.items())


def test_embeddings_have_more_directions_than_the_features() -> None:
    built: Any = task("unifeat", {"dim": 8})
    features = torch.randn(1, built.features.width, 20, 20)
    embedded = built.eval().projection(features).flatten(2)[0].T
    centred = embedded - embedded.mean(0)
    assert int(torch.linalg.matrix_rank(centred, rtol=1e-3)) > built.features.width


def test_core_is_the_mean_error_of_the_clean_image_rebuilt_from_the_damaged_one() -> None:
    built: Any = task("core", {}).eval()
    arrays = stored()
    arrays["o"][0, :, 2:9, 3:5] = NODATA
    clean = built.encoder.normalise(arrays)
    with torch.no_grad():
        found = built(Batch(arrays, None), torch.Generator().manual_seed(3))
        damaged = degrade(
            clean.values,
            clean.is_absent,
            band_groups(built.encoder.spec),
            DegradationSpec(),
            torch.Generator().manual_seed(3),
        )
        rebuilt = built.head(built.encoder(damaged.bands), (16, 16))
    assert not torch.equal(damaged.bands, clean.values)
    errors = [
        abs(float(rebuilt[place]) - float(clean.values[place]))
        for place in product(range(4), range(3), range(16), range(16))
        if clean.is_valid[place]
    ]
    assert len(errors) == 4 * 3 * 256 - 2 * 7 * 2
    assert float(found) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_simsiam_draws_predictions_to_projections_that_stand_still() -> None:
    built: Any = task("simsiam", {"width": 8, "hidden": 4}).eval()
    arrays, images = stored(), built.encoder.normalise(stored()).values
    generator = torch.Generator().manual_seed(5)
    views = [drawn_view(images, 0.2, BlurSpec(), generator) for _ in range(2)]

    def literal(*, stands_still: bool) -> Tensor:
        z = [built.projection(built.encoder(v.images).mean((2, 3), keepdim=True)) for v in views]
        p = [built.predictor(one) for one in z]
        aims = [one.detach() if stands_still else one for one in z]
        pairs = [(p[0], aims[1]), (p[1], aims[0])]
        cosines = [(a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)) for a, b in pairs]
        return -torch.stack(cosines).mean()

    def gradient(loss: Tensor) -> Tensor:
        weights = [w for w in built.parameters() if w.requires_grad]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        return torch.cat([one.flatten() for one in found if one is not None])

    mine = built(Batch(arrays, None), torch.Generator().manual_seed(5))
    assert torch.allclose(mine, literal(stands_still=True), atol=1e-6)
    step, still = gradient(mine), gradient(literal(stands_still=True))
    assert torch.allclose(step, still, atol=1e-5 * float(still.norm()))
    assert not torch.allclose(step, gradient(literal(stands_still=False)), rtol=0.01)


def brought_back(features: Tensor, to_view: Tensor) -> tuple[Tensor, Tensor]:
    """Return features of one view where pixels of the image lie in it, and which do, literally."""
    side = features.shape[1]
    found, covers = torch.zeros_like(features), torch.zeros(side, side, dtype=torch.bool)
    for row, column in product(range(side), range(side)):
        middle = torch.tensor([2 * column + 1, 2 * row + 1, side]) / side - torch.tensor([1, 1, 0])
        place = to_view[:2] @ middle
        covers[row, column] = (place.abs() <= 1).all()
        x, y = (((place + 1) * side - 1) / 2).clamp(0, side - 1).tolist()
        for r, c in product({int(y), int(y) + 1}, {int(x), int(x) + 1}):
            if max(r, c) < side:
                weight = (1 - abs(y - r)) * (1 - abs(x - c))
                found[:, row, column] += weight * features[:, r, c]
    return found, covers


def test_dense_simsiam_compares_the_same_ground_where_both_views_see_it() -> None:
    built: Any = task("simsiam", {"width": 8, "hidden": 4, "level": "dense"})
    batch = Batch(stored(), None)
    images, generator = built.encoder.normalise(batch.stored).values, torch.Generator()
    generator.manual_seed(5)
    views = [drawn_view(images, 0.2, BlurSpec(), generator) for _ in range(2)]

    def literal(*, stands_still: bool) -> Tensor:
        torch.manual_seed(6)  # of dropout
        there = [built.projection(built.encoder(view.images)) for view in views]
        maps = [(z, built.predictor(z)) for z in there]
        cosines = []
        for sample in range(len(images)):
            (z, p), (other_z, other_p) = (
                [brought_back(one[sample], view.to_view[sample]) for one in pair]
                for pair, view in zip(maps, views, strict=True)
            )
            shared = z[1] & other_z[1]
            for prediction, aim in ((p[0], other_z[0]), (other_p[0], z[0])):
                still = aim.detach() if stands_still else aim
                lengths = prediction.norm(dim=0) * still.norm(dim=0)
                cosines.append(((prediction * still).sum(0) / lengths)[shared])
        counts = [len(one) for one in cosines]
        assert min(counts) < max(counts) < images[0, 0].numel() / 16
        return -torch.cat(cosines).mean()

    weights = [w for w in built.parameters() if w.requires_grad]

    def gradient(loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        return torch.cat([one.flatten() for one in found if one is not None])

    torch.manual_seed(6)
    mine = built(batch, torch.Generator().manual_seed(5))
    assert torch.allclose(mine, literal(stands_still=True), atol=1e-5)
    step, still = gradient(mine), gradient(literal(stands_still=True))
    assert torch.allclose(step, still, atol=1e-4 * float(still.norm()))
    assert not torch.allclose(step, gradient(literal(stands_still=False)), rtol=0.01)


@pytest.mark.parametrize(("probability", "of_radar"), [(1.0, {True}), (0.0, {False}), (None, None)])
def test_pairs_of_two_sensors_come_as_often_as_is_said(
    probability: float | None, of_radar: set[bool] | None
) -> None:
    built = task("unifeat", {"dim": 4, "cross_modal_probability": probability})
    arrays = stored()
    no_radar(arrays)
    losses = [built(Batch(arrays, None), torch.Generator().manual_seed(n)) for n in range(12)]
    # Without radar, a pair with it has nothing to say.
    assert {float(loss.detach()) == 0 for loss in losses} == (of_radar or {True, False})


def test_the_loss_of_several_pairs_is_the_mean_of_theirs() -> None:
    one, three = (task("unifeat", {"dim": 4, "pairs": pairs}) for pairs in (1, 3))
    batch, generator = Batch(stored(), None), torch.Generator().manual_seed(1)
    losses = torch.stack([one(batch, generator) for _ in range(3)])
    together = three(batch, torch.Generator().manual_seed(1))
    assert losses.min() < losses.max()
    assert torch.allclose(together, losses.mean(), atol=1e-6)


def test_contrast_is_computed_in_float32_under_bfloat16() -> None:
    found = []
    for is_half in (False, True):
        built = task("unifeat", {"dim": 16})
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            loss = built(Batch(stored(), None), torch.Generator().manual_seed(0))
        torch.autograd.backward(loss)
        assert loss.dtype == torch.float32
        assert all(w.grad.dtype == torch.float32 for w in built.parameters() if w.grad is not None)
        found.append(float(loss.detach()))
    assert found[0] != found[1]
    assert found[0] == pytest.approx(found[1], rel=0.05)
