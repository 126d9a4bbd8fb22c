"""The network: its parts against the letter, and against torchvision's counts."""

from collections.abc import Callable
from types import ModuleType
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing.spawn import spawn

from sscl_geo.geo.inputs import LARGEST_SCORE, BandInput
from sscl_geo.learn.backbones import deeplabv3
from sscl_geo.learn.features import FeatureExtractor
from sscl_geo.learn.inputs import Normalise
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.tuning import tune

OPTICAL = {"array": "r10m/s2", "gsd": 10, "nodata": 0, "low": 1000.0, "high": 11000.0}
COARSE = {**OPTICAL, "array": "r20m/s2", "gsd": 20}
SAR = {"array": "r10m/s1", "gsd": 10, "nodata": -32768, "low": -2500.0, "high": 0.0}


def small_spec() -> NetworkSpec:
    bands = (
        BandInput(name="sentinel2_l2a:B04", mean=2000, spread=500, **OPTICAL),
        BandInput(name="sentinel2_l2a:B08", mean=4000, spread=900, **OPTICAL),
        BandInput(name="sentinel2_l2a:B11", mean=3000, spread=700, **COARSE),
        BandInput(name="sentinel1_rtc:VV", mean=-1200, spread=300, **SAR),
    )
    backbone = BackboneSpec(depth=18, width=4, output_stride=8, rates=(1, 2, 3), context_width=8)
    return NetworkSpec(bands=bands, features=FeatureSpec(layers=2, width=3), backbone=backbone)


def stored(seed: int = 0, side: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    return {
        "r10m/s2": draw(1, 9000, 2, 2, side, side).to(torch.uint16),
        "r20m/s2": draw(1, 9000, 2, 1, side // 2, side // 2).to(torch.uint16),
        "r10m/s1": draw(-3000, 100, 2, 1, side, side).to(torch.int16),
    }


@given(order=st.permutations(range(5)), width=st.integers(1, 4))
def test_the_order_of_bands_permutes_their_features_and_nothing_else(
    order: list[int], width: int
) -> None:
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureSpec(layers=2, width=width)).eval()
    bands = torch.randn(1, 5, 8, 8)
    plain = extractor(bands).reshape(1, 5, width, 8, 8)
    turned = extractor(bands[:, order]).reshape(1, 5, width, 8, 8)
    assert torch.allclose(plain[:, order], turned, atol=1e-6)


def stepped(*, recomputes: bool = False, compiles: bool = False) -> dict[str, torch.Tensor]:
    """Return the loss, state and gradients after a step."""
    torch.manual_seed(0)
    segmenter = Segmenter(small_spec(), 5).train()
    tune(segmenter.encoder, recomputes=recomputes, compiles=compiles, backend="aot_eager")
    loss = segmenter(segmenter.encoder.normalise(stored()).values).square().mean()
    torch.autograd.backward(loss)
    gradients = {f"gradient of {n}": p.grad for n, p in segmenter.named_parameters()}
    found = {"loss": loss.detach(), **segmenter.state_dict(), **gradients}
    return {name: value for name, value in found.items() if value is not None}


def held_bytes(*, recomputes: bool) -> int:
    """Return the bytes that a step holds for its gradient."""
    held = []

    def packed(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        stepped(recomputes=recomputes)
    return sum(held)


def test_features_computed_again_change_nothing() -> None:
    plain, again = stepped(), stepped(recomputes=True)
    assert [*plain] == [*again]
    assert all(torch.equal(value, again[name]) for name, value in plain.items())
    assert int(again["encoder.features.layers.1.num_batches_tracked"]) == 1


def test_features_computed_again_are_not_held() -> None:
    # Of two samples of four bands, at least what three layers of three planes leave.
    maps = 2 * 4 * 3 * 3 * 32 * 32 * 4
    assert held_bytes(recomputes=False) - held_bytes(recomputes=True) >= maps


def _compiled(number: int) -> None:
    assert number == 0
    plain = stepped()
    for recomputes in (False, True):
        compiled = stepped(recomputes=recomputes, compiles=True)
        assert [*plain] == [*compiled]
        for name, value in plain.items():
            assert torch.allclose(value, compiled[name], rtol=1e-4, atol=1e-6), name


@pytest.mark.cluster
def test_a_compiled_network_computes_the_same_under_the_same_names() -> None:
    # In a process of its own, as the compiler cannot read annotations that are checked.
    spawn(_compiled, nprocs=1)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("depth", "planes", "millions"),
    [
        *((50, 3, 39.64), (50, 15, 39.67), (50, 120, 40.00), (50, 240, 40.38)),
        *((50, 480, 41.13), (50, 960, 42.64), (101, 15, 58.67), (101, 240, 59.37)),
    ],
)
def test_deeplabv3_has_as_many_parameters_as_torchvisions_graph(
    depth: Literal[50, 101], planes: int, millions: float
) -> None:
    # Of 8 classes and so many input planes; the classifier has 256 * 8 + 8.
    with torch.device("meta"):
        backbone = deeplabv3.build(planes, BackboneSpec(depth=depth))
    count = sum(parameter.numel() for parameter in backbone.parameters()) + 256 * 8 + 8
    assert round(count / 1e6, 2) == millions


def layers(network: torch.nn.Module, image: torch.Tensor) -> list[torch.nn.Module]:
    """Return convolutions and batch norms in the order in which they see an image."""
    seen: list[torch.nn.Module] = []
    hooks = [
        part.register_forward_pre_hook(lambda layer, _: seen.append(layer))
        for part in network.modules()
        if isinstance(part, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return seen


@torch.inference_mode()
def test_deeplabv3_makes_the_maps_of_torchvisions(
    with_torchvision: Callable[[str], ModuleType],
) -> None:
    torch.manual_seed(0)
    models = with_torchvision("torchvision.models.segmentation")
    whole = models.deeplabv3_resnet50(weights=None, weights_backbone=None).eval()
    theirs = torch.nn.Sequential(_Last(whole.backbone), *whole.classifier.children())[:-1]
    mine, image = deeplabv3.build(3, BackboneSpec()).eval(), torch.randn(2, 3, 96, 64)
    ours, others = layers(mine, image), layers(theirs, image)
    # Theirs pools the image after the four other branches, of a convolution and a batch norm each.
    others[-14:] = [*others[-6:-4], *others[-14:-6], *others[-4:]]
    for one, other in zip(ours, others, strict=True):
        if isinstance(one, torch.nn.BatchNorm2d):
            for values in one.state_dict().values():
                if values.is_floating_point():
                    values.uniform_(0.5, 1.5)
        else:
            for name in ("kernel_size", "stride", "padding", "dilation", "bias"):
                assert getattr(one, name) == getattr(other, name)
        other.load_state_dict(one.state_dict())
    found = mine(image)
    assert found.shape == (2, 256, 12, 8)
    assert torch.allclose(found, theirs(image), rtol=1e-3, atol=1e-3 * float(found.std()))


class _Last(torch.nn.Module):
    """A backbone's last map, of the several that it names."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.backbone(image)["out"]  # type: ignore[no-any-return]


def test_the_output_stride_is_what_it_says() -> None:
    for stride in (4, 8, 16):
        spec = BackboneSpec(depth=18, width=4, output_stride=stride, rates=(1, 2), context_width=6)
        backbone = deeplabv3.build(2, spec).eval()
        assert backbone(torch.zeros(1, 2, 64, 64)).shape == (1, 6, 64 // stride, 64 // stride)


def test_pixels_without_an_observation_are_zero_and_said_to_be_so() -> None:
    numbers = stored()
    numbers["r10m/s2"][:, 0, :4] = 0
    numbers["r10m/s1"][:, :, 3, 3] = -32768
    bands = Normalise(small_spec())(numbers)
    assert not bands.is_valid[:, 0, :4].any()
    assert not bands.is_valid[:, 3, 3, 3].any()
    assert bands.is_valid[:, 1:3].all()
    assert (bands.values[~bands.is_valid] == 0).all()
    assert bands.values.abs().max() <= LARGEST_SCORE


def test_numbers_that_are_not_finite_are_as_nodata() -> None:
    numbers = {name: array.float() for name, array in stored().items()}
    bare = {name: array.clone() for name, array in numbers.items()}
    for place, wrong in enumerate((float("nan"), float("inf"), -float("inf"))):
        numbers["r20m/s2"][0, 0, place] = wrong
        bare["r20m/s2"][0, 0, place] = 0
    found, expected = Normalise(small_spec())(numbers), Normalise(small_spec())(bare)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.is_valid, expected.is_valid)


def test_normalised_numbers_are_z_scores_of_clipped_numbers() -> None:
    numbers = stored()
    bands = Normalise(small_spec())(numbers)
    expected = ((numbers["r10m/s1"].float().clamp(-2500, 0) + 1200) / 300).clamp(-5, 5)
    assert torch.allclose(bands.values[:, 3:], expected, atol=1e-5)


def test_reflectance_may_enter_as_logarithms_and_backscatter_stays_as_it_is() -> None:
    spec, numbers = small_spec(), stored()
    first = spec.bands[0].replace(log_offset=100.0, mean=7.0, spread=0.5)
    bands = Normalise(spec.replace(bands=(first, *spec.bands[1:])))(numbers)
    plain = Normalise(spec)(numbers)
    red = numbers["r10m/s2"][:, :1].double()
    expected = (((red.clamp(1000, 11000) - 1000 + 100).log() - 7) / 0.5).clamp(-5, 5)
    expected[~plain.is_valid[:, :1]] = 0
    assert torch.allclose(bands.values[:, :1].double(), expected, atol=1e-5)
    assert torch.equal(bands.values[:, 1:], plain.values[:, 1:])
    assert torch.equal(bands.is_valid, plain.is_valid)


def test_every_pixel_gets_one_logit_a_class() -> None:
    segmenter = Segmenter(small_spec(), 5).eval()
    bands = segmenter.encoder.normalise(stored())
    assert segmenter(bands.values).shape == (2, 5, 32, 32)
