from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import CatalogError
from sscl_geo.io.offsets import (
    Conflict,
    Histogram,
    OffsetDecision,
    Pixels,
    Witness,
    confirm,
    decide,
    pixels_say,
)

ALL: tuple[Witness, ...] = (
    "raster_bands",
    "processing_baseline",
    "product_id",
    "boa_offset_applied",
)
Fields = dict[str, Any]

V1_WITH: Fields = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
V1_WITHOUT: Fields = {"raster:bands": [{"scale": 0.0001, "offset": 0}]}
V11_WITH: Fields = {"bands": [{"name": "B02", "raster:offset": -0.1}]}
V11_WITHOUT: Fields = {"bands": [{"name": "B02", "raster:offset": 0.0}]}


@pytest.mark.parametrize(
    ("properties", "asset", "harmonise", "witness"),
    [
        ({"s2:processing_baseline": "02.12"}, {}, 1000, "processing_baseline"),
        ({"s2:processing_baseline": "03.01"}, {}, 1000, "processing_baseline"),
        ({"s2:processing_baseline": "04.00"}, {}, 0, "processing_baseline"),
        ({"s2:processing_baseline": "05.11"}, {}, 0, "processing_baseline"),
        ({"s2:processing_baseline": 5.09}, {}, 0, "processing_baseline"),
        ({"processing:version": "05.00"}, {}, 0, "processing_baseline"),
        ({}, V1_WITH, 0, "raster_bands"),
        ({}, V1_WITHOUT, 1000, "raster_bands"),
        ({}, V11_WITH, 0, "raster_bands"),
        ({}, V11_WITHOUT, 1000, "raster_bands"),
        ({"earthsearch:boa_offset_applied": False}, {}, 0, "boa_offset_applied"),
        ({"earthsearch:boa_offset_applied": True}, {}, 1000, "boa_offset_applied"),
        ({"sentinel:boa_offset_applied": True}, {}, 1000, "boa_offset_applied"),
        ({"id": "S2A_MSIL2A_20150704T101006_N0500_R022_T35XQA"}, {}, 0, "product_id"),
        ({"s2:product_uri": "S2A_MSIL2A_20200703T103031_N0214_R108"}, {}, 1000, "product_id"),
        ({}, {"raster:offset": -0.1, "bands": [{"name": "B02"}]}, 0, "raster_bands"),
        (
            {"s2:processing_baseline": "02.14", "earthsearch:boa_offset_applied": False},
            {},
            1000,
            "processing_baseline, boa_offset_applied",
        ),
        ({"s2:processing_baseline": "05.11"}, V1_WITH, 0, "raster_bands, processing_baseline"),
        (
            {"s2:processing_baseline": "02.14"},
            V1_WITHOUT,
            1000,
            "raster_bands, processing_baseline",
        ),
    ],
)
def test_metadata_decide_what_makes_a_scene_canonical(
    properties: Fields, asset: Fields, harmonise: int, witness: str
) -> None:
    assert decide(properties, asset, ALL) == OffsetDecision(harmonise, witness)


@pytest.mark.parametrize(
    ("properties", "asset", "said"),
    [
        (
            {"s2:processing_baseline": "05.11"},
            V1_WITHOUT,
            r"raster_bands says none but processing_baseline says \+1000",
        ),
        (
            {"s2:processing_baseline": "02.12"},
            V11_WITH,
            r"raster_bands says \+1000 but processing_baseline says none",
        ),
        (
            {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True},
            {},
            r"processing_baseline says \+1000 but boa_offset_applied says none",
        ),
    ],
)
def test_witnesses_that_contradict_each_other_are_named(
    properties: Fields, asset: Fields, said: str
) -> None:
    with pytest.raises(CatalogError, match=said):
        decide(properties, asset, ALL)


def test_a_witness_that_the_profile_does_not_call_is_not_heard() -> None:
    properties = {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}
    decision = decide(properties, V1_WITHOUT, ("processing_baseline",))
    assert decision == OffsetDecision(0, "processing_baseline")


@pytest.mark.parametrize(
    ("properties", "asset"),
    [
        ({}, {}),
        ({"datetime": "2024-01-01T00:00:00Z"}, {"bands": []}),
        ({"earthsearch:boa_offset_applied": True}, {"raster:bands": [{"nodata": 0}]}),
    ],
)
def test_without_a_witness_the_offset_is_unknown(properties: Fields, asset: Fields) -> None:
    with pytest.raises(CatalogError, match="none of raster_bands, processing_baseline"):
        decide(properties, asset, ("raster_bands", "processing_baseline"))


@pytest.mark.parametrize(
    ("properties", "asset"),
    [
        ({"s2:processing_baseline": "N0212"}, {}),
        ({"processing:version": "2.6.0"}, {}),
        ({"earthsearch:boa_offset_applied": "no"}, {}),
        ({}, {"raster:bands": [{"offset": "none"}]}),
        ({}, {"raster:bands": ["B02"]}),
    ],
)
def test_a_witness_that_cannot_be_understood_is_an_error_of_the_catalogue(
    properties: Fields, asset: Fields
) -> None:
    with pytest.raises(CatalogError):
        decide(properties, asset, ALL)


def test_bigearthnet_s_product_names_tell_no_baseline() -> None:
    with pytest.raises(CatalogError, match="unknown"):
        decide({"id": "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_35_50"}, {}, ALL)


def seen(*dn: int) -> Histogram:
    counts = np.bincount([value for value in dn if value < 2000], minlength=2000)
    return Histogram(counts.astype(np.int64), len(dn))


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        ([[300] * 500, [1200] * 500, [2500] * 500], "absent"),
        ([[1100] * 500, [1150] * 500, [1050] * 500], "carried"),
        ([[1100] * 500, [1150] * 500, [2500] * 500], "ambiguous"),
        ([[8000] * 500, [8000] * 500, [3000] * 500], "ambiguous"),
        ([[1100] * 500], "ambiguous"),
        ([[300] * 100, [300] * 100, [300] * 100], "ambiguous"),
        ([[], [], []], "ambiguous"),
        ([], "ambiguous"),
        ([[800] * 10 + [1100] * 490, [1100] * 500, [1100] * 500], "ambiguous"),
    ],
)
def test_pixels_tell_what_they_can(bands: list[list[int]], told: str) -> None:
    assert pixels_say([seen(*band) for band in bands]) == told


RUNS = st.lists(st.tuples(st.integers(1, 1999), st.integers(1, 400)), min_size=1, max_size=6)
BANDS = st.lists(
    RUNS.map(lambda runs: [dn for dn, count in runs for _ in range(count)]), min_size=2, max_size=3
)


@given(BANDS)
def test_pixels_never_tell_the_opposite_once_the_offset_is_added(bands: list[list[int]]) -> None:
    before = pixels_say([seen(*band) for band in bands])
    after = pixels_say([seen(*(dn + 1000 for dn in band)) for band in bands])
    assert after != "absent"
    assert not (before == "carried" and after == "carried")


@pytest.mark.parametrize("harmonise", [0, 1000])
@pytest.mark.parametrize("rule", ["refuse", "pixels"])
@pytest.mark.parametrize("pixels", ["carried", "absent", "ambiguous"])
def test_pixels_confirm_or_contradict_metadata(
    harmonise: int, rule: Conflict, pixels: Pixels
) -> None:
    metadata = OffsetDecision(harmonise, "processing_baseline")
    told = {"carried": 0, "absent": 1000, "ambiguous": harmonise}[pixels]
    if pixels == "ambiguous":
        assert confirm(metadata, pixels, rule) == metadata
        assert metadata.confidence == "low"
    elif told != harmonise and rule == "refuse":
        with pytest.raises(CatalogError, match=r"processing_baseline says .* but pixels say"):
            confirm(metadata, pixels, rule)
    else:
        decision = confirm(metadata, pixels, rule)
        assert (decision.harmonise, decision.confidence) == (told, "high")
        assert "pixels" in decision.witness
        assert "processing_baseline" in decision.witness
