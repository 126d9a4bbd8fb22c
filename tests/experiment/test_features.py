"""What is hidden from a network is as if it had not been observed, and nothing else is."""

import numpy as np
import pytest

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.features import hidden_bands, without
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec

NAMES = ["sentinel2_l2a:B02", "sentinel2_l2a:B02@1", "sentinel2_l2a:B03", "sentinel1_rtc:VV"]


def spec() -> NetworkSpec:
    numbers = {"gsd": 10, "low": 0, "high": 99, "mean": 50, "spread": 20}
    bands = [
        BandInput.model_validate({"name": name, "array": "s1", "nodata": -32768, **numbers})
        if name == "sentinel1_rtc:VV"
        else BandInput.model_validate({"name": name, "array": "s2", "nodata": 0, **numbers})
        for name in NAMES
    ]
    backbone = BackboneSpec(name="dilated", width=8, rates=(1,), context_width=8)
    return NetworkSpec(
        bands=tuple(bands), features=FeatureSpec(layers=1, width=2), backbone=backbone
    )


@pytest.mark.parametrize(
    ("hidden", "planes"),
    [
        ([], {"s2": [], "s1": []}),
        (["sentinel2_l2a:B02"], {"s2": [0, 1], "s1": []}),
        (["sentinel2_l2a:B03", "sentinel1_rtc"], {"s2": [2], "s1": [0]}),
        (["sentinel2_l2a"], {"s2": [0, 1, 2], "s1": []}),
    ],
)
def test_the_named_bands_alone_become_nodata(
    hidden: list[str], planes: dict[str, list[int]]
) -> None:
    chip = {"s2": np.full((3, 4, 4), 7, np.uint16), "s1": np.full((1, 4, 4), -900, np.int16)}
    seen = without(chip, spec(), hidden)
    for name, nodata in (("s2", 0), ("s1", -32768)):
        for number, plane in enumerate(seen[name]):
            wanted = nodata if number in planes[name] else chip[name][number]
            assert (plane == wanted).all()
    assert (chip["s2"] == 7).all()
    assert (chip["s1"] == -900).all()


def test_what_the_network_does_not_see_cannot_be_hidden() -> None:
    with pytest.raises(InvalidInputError, match=r"judged_without B02, s1: the network sees sent"):
        hidden_bands(NAMES, ["s1", "B02", "sentinel1_rtc"])
