import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.plugins import shipped

LEGEND = Legend(
    name="toy",
    classes=(
        LandClass(value=10, name="wood", color="#00FF00", sources=(1, 2, 300)),
        LandClass(value=3, name="water", color="#0000ff"),
    ),
    ignored=(8, -1),
    absent=(9,),
)
MEANINGS = {1: 10, 2: 10, 300: 10, 3: 3, 8: 0, -1: 0, 9: 0, 0: 0}


@given(st.lists(st.sampled_from(sorted(MEANINGS)), min_size=6, max_size=6))
def test_recoding_is_a_look_up_of_each_pixel(codes: list[int]) -> None:
    labels = np.array(codes, np.int32).reshape(2, 3)
    found = LEGEND.recode(labels, "somewhere")
    assert found.dtype == np.uint8
    assert found.tolist() == [[MEANINGS[code] for code in row] for row in labels.tolist()]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_indices_are_positions_in_the_legend(values: list[int]) -> None:
    found = LEGEND.indices(np.array(values, np.uint8))
    assert found.tolist() == [
        LEGEND.values.index(value) if value in LEGEND.values else 255 for value in values
    ]


def test_a_legend_without_sources_leaves_its_own_values() -> None:
    plain = Legend(
        name="plain",
        classes=tuple(LandClass(value=n, name=f"c{n}", color="#123456") for n in (1, 7, 255)),
    )
    labels = np.array([[0, 1], [7, 255]], np.uint8)
    assert np.array_equal(plain.recode(labels, "itself"), labels)


def test_a_value_without_a_class_is_refused_with_its_source() -> None:
    with pytest.raises(InvalidInputError, match=r"labels\.tif holds the values \[10, 77\].*'toy'"):
        LEGEND.recode(np.array([[1, 77], [10, 0]], np.int32), "labels.tif")


def test_a_fraction_is_no_class() -> None:
    with pytest.raises(InvalidInputError, match=r"labels\.tif"):
        LEGEND.recode(np.array([[1.5, 3.0]], np.float32), "labels.tif")


def test_an_empty_block_stays_empty() -> None:
    assert LEGEND.recode(np.zeros((0, 4), np.uint8), "nothing").shape == (0, 4)


def test_colours_are_bytes() -> None:
    assert LEGEND.classes[0].rgb == (0, 255, 0)
    assert LEGEND.classes[0].color == "#00ff00"


@pytest.mark.parametrize(
    ("value", "color", "told"),
    [
        (0, "#000000", r"1\.\.255"),
        (256, "#000000", r"1\.\.255"),
        (1, "red", "#rrggbb"),
        (1, "#ff00", "#rrggbb"),
        (1, "#ff00000", "#rrggbb"),
    ],
)
def test_a_class_that_breaks_a_rule_is_refused(value: int, color: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        LandClass(value=value, name="x", color=color)


@pytest.mark.parametrize(
    "codes", [[(1, ())], [(1, ()), (1, ())], [(1, (5,)), (2, (5,))], [(1, (2,)), (2, ())]]
)
def test_classes_with_the_same_value_or_source_are_refused(
    codes: list[tuple[int, tuple[int, ...]]],
) -> None:
    classes = tuple(
        LandClass(value=value, name=str(index), color="#000000", sources=sources)
        for index, (value, sources) in enumerate(codes)
    )
    with pytest.raises(InvalidInputError, match="distinct values and sources"):
        Legend(name="toy", classes=classes)


@pytest.mark.parametrize(("value", "sources"), [(8, ()), (1, (5, 8)), (1, (9,))])
def test_a_source_that_means_a_class_and_none_is_refused(
    value: int, sources: tuple[int, ...]
) -> None:
    one = LandClass(value=value, name="one", color="#000000", sources=sources)
    told = r"'toy': the source values \[[89]\] mean a class and are `ignored` or `absent`"
    with pytest.raises(InvalidInputError, match=told):
        LEGEND.replace(classes=(one, LEGEND.classes[1]))


def test_a_legend_without_absent_classes_is_written_as_ever() -> None:
    worldcover = read_yaml(Legend, shipped("catalogs") / "legends" / "worldcover.yaml")
    assert [*worldcover.model_dump()] == ["name", "classes", "ignored"]
    assert worldcover.digest.startswith("324884c195d46207")
    for legend in (worldcover, LEGEND):
        assert Legend.model_validate_json(legend.model_dump_json()) == legend


def test_labels_of_another_legend_are_named() -> None:
    LEGEND.check(np.array([[0, 3], [10, 10]], np.uint8), "labels.zarr")
    with pytest.raises(InvalidInputError, match=r"labels\.zarr holds the values \[7, 255\].*'toy'"):
        LEGEND.check(np.array([[0, 255], [10, 7]], np.uint8), "labels.zarr")
