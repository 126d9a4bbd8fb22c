from typing import Any

import pytest

from sscl_geo.errors import CatalogError
from sscl_geo.io.offsets import OffsetDecision, Witness, decide

ALL: tuple[Witness, ...] = ("raster_bands", "processing_baseline", "boa_offset_applied")
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
        ({}, {"raster:bands": [{"offset": "none"}]}),
        ({}, {"raster:bands": ["B02"]}),
    ],
)
def test_a_witness_that_cannot_be_understood_is_an_error_of_the_catalogue(
    properties: Fields, asset: Fields
) -> None:
    with pytest.raises(CatalogError):
        decide(properties, asset, ALL)
