import json
from pathlib import Path

import numpy as np
import pytest

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.bundle import CARD, WEIGHTS, Bundle, read_card, read_weights, write_bundle

LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=1, name="wood", color="#00ff00"),
        LandClass(value=2, name="water", color="#0000ff"),
    ),
)
BUNDLE = Bundle(
    kind="model",
    network={"bands": [{"name": "B02", "mean": 0.1}], "depth": 18},
    legend=LEGEND,
    training={"seed": 3, "note": None},
    history=[{"epoch": 1, "loss": 0.5}],
)


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        "layer.weight": random.normal(size=(3, 4, 2, 2)).astype(np.float32),
        "layer.transposed": random.normal(size=(5, 3)).astype(np.float64).T,
        "layer.steps": np.array(7, np.int64),
        "layer.empty": np.zeros((0, 3), np.float32),
        "layer.mask": np.array([True, False]),
    }


def test_a_bundle_survives_the_disk(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "deep" / "model", BUNDLE, weights())
    card = read_card(tmp_path / "deep" / "model")
    assert card == written
    assert card == BUNDLE.replace(weights_sha256=written.weights_sha256)
    read = read_weights(tmp_path / "deep" / "model", card)
    assert read.keys() == weights().keys()
    for name, array in weights().items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


def test_a_bundle_holds_two_files_and_nothing_that_runs(tmp_path: Path) -> None:
    write_bundle(tmp_path, BUNDLE, weights())
    assert {path.name for path in tmp_path.iterdir()} == {CARD, WEIGHTS}
    assert json.loads((tmp_path / CARD).read_text())["kind"] == "model"


def test_what_a_killed_writer_left_is_deleted(tmp_path: Path) -> None:
    for suffix in (".json", ".safetensors"):
        (tmp_path / f".model.{'0' * 32}.partial{suffix}").write_bytes(b"half")
    write_bundle(tmp_path, BUNDLE, weights())
    assert {path.name for path in tmp_path.iterdir()} == {CARD, WEIGHTS}


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    one, other = weights(), dict(reversed(weights().items()))
    first = write_bundle(tmp_path / "one", BUNDLE, one)
    assert write_bundle(tmp_path / "other", BUNDLE, other) == first


def test_a_bundle_is_replaced(tmp_path: Path) -> None:
    old = write_bundle(tmp_path, BUNDLE, weights())
    new = write_bundle(tmp_path, BUNDLE, {"layer.weight": np.ones(3, np.float32)})
    assert read_card(tmp_path) == new
    assert list(read_weights(tmp_path, new)) == ["layer.weight"]
    with pytest.raises(InvalidInputError, match="is not the file"):
        read_weights(tmp_path, old)


def test_weights_with_one_changed_byte_are_refused(tmp_path: Path) -> None:
    card = write_bundle(tmp_path, BUNDLE, weights())
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"model\.safetensors is not the file that"):
        read_weights(tmp_path, card)


@pytest.mark.parametrize("length", [0, 7, 100])
def test_weights_that_are_cut_off_or_absent_are_refused(tmp_path: Path, length: int) -> None:
    card = write_bundle(tmp_path, BUNDLE, weights())
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:length])
    with pytest.raises(InvalidInputError, match="absent or damaged"):
        read_weights(tmp_path, card)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InvalidInputError, match="absent or damaged"):
        read_weights(tmp_path, card)


@pytest.mark.parametrize("content", [None, "", "{", "\x00"])
def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / CARD).write_text(content)
    with pytest.raises(InvalidInputError, match=r"holds no model bundle.*sscl-geo pretrain"):
        read_card(tmp_path)


def test_a_card_that_breaks_a_rule_is_refused_with_its_field(tmp_path: Path) -> None:
    write_bundle(tmp_path, BUNDLE, weights())
    fields = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps({**fields, "kind": "toaster"}))
    with pytest.raises(InvalidInputError, match=r"model\.json: kind: .*toaster"):
        read_card(tmp_path)
