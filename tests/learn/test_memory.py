"""What a network needs for a window is told before it is run."""

import pytest
import torch

from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn import memory
from sscl_geo.learn.memory import model_bytes
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec

BANDS = tuple(
    BandInput(
        name=f"a:B{number}", array="r10m/a", gsd=10, nodata=0, low=0, high=1, mean=0, spread=1
    )
    for number in range(4)
)


def spec_of(backbone: str, width: int = 4) -> NetworkSpec:
    shape = BackboneSpec(name=backbone, depth=18, width=8, rates=(2,), context_width=16)
    return NetworkSpec(bands=BANDS, features=FeatureSpec(layers=2, width=width), backbone=shape)


@pytest.mark.parametrize("backbone", ["deeplabv3", "deeplabv3plus", "unet"])
def test_a_small_window_tells_what_the_whole_one_needs(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = model_bytes(spec_of(backbone), 8, 1, 256)
    monkeypatch.setattr(memory, "PROBE", 256)
    assert told == pytest.approx(model_bytes(spec_of(backbone), 8, 1, 256), rel=0.03)
    # The features of all bands, before and behind a convolution, are held in any case.
    assert told > 2 * 4 * len(BANDS) * 4 * 256**2


def test_wider_features_need_more() -> None:
    narrow, wide = (model_bytes(spec_of("deeplabv3", width), 8, 1, 128) for width in (8, 16))
    assert wide > 1.5 * narrow


def test_members_need_their_weights_but_one_window() -> None:
    spec = spec_of("deeplabv3", 8)
    network = Segmenter(spec, 8)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    one, two, five = (model_bytes(spec, 8, members, 256) for members in (1, 2, 5))
    assert one < two < one + weights + 3 * 4 * 8 * 256**2
    assert five - two == 3 * weights
    assert model_bytes(spec, 8, 500, 64) == 4 * 500 * weights


def test_nothing_that_is_drawn_later_changes() -> None:
    before = torch.get_rng_state()
    model_bytes(spec_of("unet"), 8, 1, 64)
    assert torch.equal(torch.get_rng_state(), before)
