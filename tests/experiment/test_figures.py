"""Pictures of an experiment show the numbers of its tables, and maps beside their chip."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sscl_geo.experiment.curve import curve_picture, lines
from sscl_geo.experiment.feature_maps import Panel, colour_of, feature_picture, most_varied
from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.tables import Key
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.ops.assessment import Assessment, Tally
from sscl_geo.plugins import shipped

TRAIN = 112


@pytest.fixture(scope="module")
def legend() -> Legend:
    return read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")


@pytest.fixture(scope="module")
def worldcover() -> Experiment:
    return read_yaml(Experiment, shipped("workflows/experiments") / "worldcover.yaml")


def assessment(legend: Legend, share: float) -> Assessment:
    """Return the assessment of a map that is right on a share of two classes' pixels."""
    labels = np.repeat(np.array(legend.values[:2], np.uint8), 50).reshape(2, 50)
    wrong = np.zeros((2, 50), bool)
    wrong[:, round(50 * share) :] = True
    mapped = np.where(wrong, labels[::-1], labels)
    told = np.array(legend.values)[:, None, None] == mapped
    tally = Tally(legend)
    tally.add(labels, (0.9 * told + 0.1 / len(legend.classes)).astype(np.float32))
    return tally.assessment()


@pytest.fixture(scope="module")
def found(worldcover: Experiment, legend: Legend) -> dict[Key, Assessment]:
    """Every cell of an experiment, better with labels, a little different by seed and system."""
    made: dict[Key, Assessment] = {}
    for index, name in enumerate(worldcover.systems):
        for count in worldcover.labels_of(name):
            number = TRAIN if count == "all" else count
            for seed in range(worldcover.seeds_of(name)):
                share = 0.3 + 0.2 * np.log10(number) + 0.01 * index + 0.02 * (seed % 2)
                made[name, str(count), seed] = assessment(legend, share)
    return made


def test_a_line_is_the_mean_and_spread_over_seeds_at_ascending_numbers(
    worldcover: Experiment, found: dict[Key, Assessment]
) -> None:
    drawn = {line.system: line for line in lines(worldcover, found, "AA", TRAIN)}
    assert [*drawn] == [*worldcover.systems]
    assert drawn["random"].labels == (10, 20, 50, TRAIN)
    assert drawn["random_long"].labels == (20,)
    told = [100 * found["random", "all", seed].scores.aa for seed in range(worldcover.seeds)]
    assert np.isclose(drawn["random"].mean[-1], np.mean(told))
    assert np.isclose(drawn["random"].spread[-1], np.std(told, ddof=1))
    assert 0 < drawn["random"].spread[-1] < 5


def test_only_cells_that_are_done_are_drawn(
    worldcover: Experiment, found: dict[Key, Assessment]
) -> None:
    some = {key: one for key, one in found.items() if key[0] == "unet" and key[1:] != ("20", 0)}
    few = {key: one for key, one in some.items() if key[2] == 0}
    (line,) = lines(worldcover, few, "mIoU", TRAIN)
    assert line.labels == (10, 50, TRAIN)
    assert line.spread == (0.0, 0.0, 0.0)


def test_the_curve_is_a_picture(worldcover: Experiment, found: dict[Key, Assessment]) -> None:
    image = Image.open(io.BytesIO(curve_picture(worldcover, found, TRAIN)))
    assert image.format == "PNG"
    assert image.width > image.height > 500
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20


@given(st.lists(st.integers(1, 6), min_size=2, max_size=8))
def test_the_chip_with_the_most_even_classes_is_shown(kinds: list[int]) -> None:
    labels = np.zeros((len(kinds), 12, 10), np.uint8)
    for number, kind in enumerate(kinds):
        labels[number] = 1 + np.arange(120).reshape(12, 10) % kind
    assert kinds[most_varied(labels)] == max(kinds)


def test_components_are_turned_alike_so_that_systems_compare() -> None:
    random = np.random.default_rng(0)
    like = random.normal(size=(20, 30)).astype(np.float32)
    planes = np.stack([like, random.normal(size=like.shape).astype(np.float32)])
    image = colour_of(planes, like)
    assert np.array_equal(image, colour_of(-planes, like))
    assert np.array_equal(image, colour_of(3 * planes, like + 5))
    assert image[like.argmax() // 30, like.argmax() % 30, 0] == 255
    assert (image[..., 2] == 127).all()


def test_panels_are_a_picture_with_every_class_named(legend: Legend) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for count, rows, across in ((1, 1, 3), (5, 1, 5), (8, 2, 4), (9, 3, 3)):
        picture = feature_picture([Panel(f"system {n}", image) for n in range(count)], legend)
        width, height = Image.open(io.BytesIO(picture)).size
        assert 400 * across < width < 430 * across
        assert 400 * rows < height < 800 * rows
