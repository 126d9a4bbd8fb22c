"""Every backbone: a map that sees the whole input, at the size it says; and ImageNet's weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.init import initialise, named, settled
from sscl_geo.learn.network import Encoder, Segmenter
from sscl_geo.learn.pretext import unifeat
from sscl_geo.learn.resnet import ResNet
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.learn.tuning import prepare_inference

BACKBONES = "sscl_geo.learn.backbones"
BANDS = tuple(
    BandInput(
        name=f"sentinel2_l2a:{name}",
        array="a",
        gsd=10,
        nodata=0,
        low=0.0,
        high=1.0,
        mean=0.0,
        spread=1.0,
    )
    for name in ("B05", "B06", "B07", "B11", "B12")
)


@pytest.mark.parametrize("name", plugins.names(BACKBONES))
@pytest.mark.parametrize("side", [64, 48])
def test_a_backbone_has_gradients_everywhere_and_reads_every_plane(name: str, side: int) -> None:
    spec = BackboneSpec(name=name, depth=18, width=4, rates=(1, 2), context_width=8)
    torch.manual_seed(0)
    backbone = plugins.find(BACKBONES, name).build(3, spec)
    features = torch.randn(2, 3, side, side, requires_grad=True)
    context = backbone(features)
    assert context.shape[:2] == (2, 8)
    assert side % context.shape[2] == 0
    context.square().sum().backward()
    assert features.grad is not None
    assert (features.grad.abs().sum((0, 2, 3)) > 0).all()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("name", plugins.names(BACKBONES))
def test_a_network_prepared_to_be_asked_says_the_same_without_batch_norms(name: str) -> None:
    torch.manual_seed(0)
    backbone = BackboneSpec(name=name, depth=18, width=4, rates=(1, 2), context_width=8)
    spec = NetworkSpec(bands=BANDS, features=FeatureSpec(layers=2, width=2), backbone=backbone)
    network, bands = Segmenter(spec, 3), torch.randn(2, 5, 48, 48)
    for _ in range(3):
        network(3 * bands + 1)  # statistics of its own for every batch norm
    with torch.inference_mode():
        before = network.eval()(bands)
        prepare_inference(network, "cpu")
        after = network(bands)
    assert torch.allclose(after, before, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["deeplabv3plus", "dilated", "unet"])
def test_decoders_end_at_the_features_own_resolution(name: str) -> None:
    spec = BackboneSpec(name=name, depth=18, width=4, rates=(1, 2), context_width=8)
    backbone = plugins.find(BACKBONES, name).build(3, spec).eval()
    assert backbone(torch.zeros(1, 3, 32, 32)).shape == (1, 8, 32, 32)


def test_a_dilated_backbone_sees_as_far_as_its_rates_reach() -> None:
    spec = BackboneSpec(name="dilated", width=4, rates=(1, 2, 4), context_width=8)
    torch.manual_seed(0)
    backbone = plugins.find(BACKBONES, "dilated").build(3, spec).eval()
    features = torch.randn(1, 3, 31, 31, requires_grad=True)
    backbone(features)[0, :, 15, 15].sum().backward()
    assert features.grad is not None
    seen = features.grad[0].abs().sum(0) > 0
    rows, columns = (seen.any(axis).nonzero() for axis in (1, 0))
    assert (int(rows.min()), int(rows.max())) == (8, 22)
    assert (int(columns.min()), int(columns.max())) == (8, 22)


def encoder(depth: int, width: int = 64) -> Encoder:
    backbone = BackboneSpec.model_validate({"depth": depth, "width": width, "output_stride": 16})
    torch.manual_seed(1)
    return Encoder(
        NetworkSpec(bands=BANDS, features=FeatureSpec(layers=0, width=1), backbone=backbone)
    )


@pytest.fixture(scope="module")
def theirs(with_torchvision: Callable[[str], ModuleType]) -> torch.nn.Module:
    torch.manual_seed(2)
    network: torch.nn.Module = with_torchvision("torchvision.models").resnet18(weights=None)
    return network.eval()


@pytest.fixture(scope="module")
def weights(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imagenet") / "resnet18.pth"
    torch.save(theirs.state_dict(), path)
    return path


@torch.inference_mode()
def test_imagenet_weights_make_the_same_maps_as_torchvisions_network(
    weights: Path, theirs: Any
) -> None:
    mine = encoder(18)
    initialise(mine, "imagenet", {"weights": str(weights)})
    # A grey image in five bands is to the adapted stem what it is in three colours to theirs.
    grey = torch.randn(1, 1, 64, 64)
    resnet = next(m for m in mine.eval().backbone.modules() if isinstance(m, ResNet))
    found = resnet(grey.expand(-1, 5, -1, -1)).stages
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(grey.expand(-1, 3, -1, -1)))))
    for stage, layer in zip(found[:3], (theirs.layer1, theirs.layer2, theirs.layer3), strict=True):
        x = layer(x)
        assert torch.allclose(stage, x, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_bands_that_are_colours_have_the_kernels_of_these(weights: Path, theirs: Any) -> None:
    names = ("B12", "B02", "B03", "B04")
    bands = tuple(BANDS[0].replace(name=f"sentinel2_l2a:{name}") for name in names)
    fused = Encoder(encoder(18).spec.replace(bands=bands))
    initialise(fused, "imagenet", {"weights": str(weights)})
    resnet = next(m for m in fused.backbone.modules() if isinstance(m, ResNet))
    stem: Any = resnet.stem[0].weight
    red, green, blue = theirs.conv1.weight.unbind(1)
    mean = (red + green + blue) / 3
    assert torch.allclose(stem, torch.stack([mean, blue, green, red], 1) * 3 / 4, atol=1e-7)


def test_weights_are_found_in_torch_s_own_cache(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    shutil.copy(weights, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    monkeypatch.chdir(tmp_path)
    made = [encoder(18), encoder(18)]
    for network, name in zip(made, (str(weights), "resnet18-f37072fd.pth"), strict=True):
        initialise(network, "imagenet", {"weights": name})
    one, other = (
        next(m for m in network.backbone.modules() if isinstance(m, ResNet)).state_dict()
        for network in made
    )
    assert all(torch.equal(other[name], value) for name, value in one.items())


def test_weights_of_a_torch_that_did_not_count_batches_are_the_same(
    weights: Path, theirs: Any, tmp_path: Path
) -> None:
    state = {k: v for k, v in theirs.state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth")
    made = []
    for path in (weights, tmp_path / "old.pth"):
        torch.manual_seed(0)
        network = encoder(18)
        initialise(network, "imagenet", {"weights": str(path)})
        made.append(network.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_unifeat_without_a_feature_extractor_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"features\.layers 0 has none"):
        unifeat.build(encoder(18), unifeat.Settings())


def test_a_study_knows_its_weights_by_what_they_are_wherever_they_stand(
    weights: Path, tmp_path: Path
) -> None:
    moved = shutil.copy(weights, tmp_path / weights.name)
    told = []
    for path in (weights, moved):
        init = {"name": "imagenet", "settings": {"weights": str(path)}}
        study = read_yaml(Study, plugins.shipped("workflows/studies") / "demo.yaml")
        whole = settled(study.replace(init=init))
        assert whole.init.settings["weights"] == str(Path(path).resolve())
        told.append(named(whole))
    assert told[0] == told[1]
    assert str(tmp_path) not in told[1].model_dump_json()
    (tmp_path / weights.name).write_bytes(b"other")
    with pytest.raises(InvalidInputError, match="has the sha256"):
        settled(whole)


def test_weights_of_another_network_or_no_weights_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="does not fit depth 50"):
        initialise(encoder(50), "imagenet", {"weights": str(weights)})
    with pytest.raises(InvalidInputError, match="does not fit depth 18 and width 8"):
        initialise(encoder(18, 8), "imagenet", {"weights": str(weights)})
    dilated = NetworkSpec(
        bands=BANDS,
        features=FeatureSpec(layers=0, width=1),
        backbone=BackboneSpec(name="dilated", width=8, context_width=8),
    )
    with pytest.raises(InvalidInputError, match="backbone 'dilated' has no ResNet"):
        initialise(Encoder(dilated), "imagenet", {"weights": str(weights)})
    with pytest.raises(InvalidInputError, match=r"absent\.pth: no such file"):
        initialise(encoder(18, 8), "imagenet", {"weights": str(tmp_path / "absent.pth")})
    with pytest.raises(InvalidInputError, match="settings of init imagenet: weights"):
        initialise(encoder(18, 8), "imagenet", {})


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<html>not found</html>", "is no state dictionary"),
        (b"some text\n", "is no state dictionary"),
        ({"fc.weight": torch.zeros(3)}, "has no stem of three colours"),
        ({"conv1.weight": torch.zeros(64)}, "has no stem of three colours"),
        ([1, 2], "has no stem of three colours"),
    ],
)
def test_a_file_that_holds_no_resnet_is_told(tmp_path: Path, content: object, cause: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InvalidInputError, match=cause):
        initialise(encoder(18), "imagenet", {"weights": str(path)})
