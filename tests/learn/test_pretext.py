"""Every pretext task on ground that was not, or hardly, observed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sscl_geo import plugins
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec

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
