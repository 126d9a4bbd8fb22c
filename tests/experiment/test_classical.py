"""Classical classifiers on what chips show."""

import numpy as np
import pytest

from sscl_geo.experiment import classical
from sscl_geo.experiment.features import bands_of
from sscl_geo.geo.legend import LandClass, Legend

LEGEND = Legend(
    name="two",
    classes=(
        LandClass(value=3, name="water", color="#0000ff"),
        LandClass(value=7, name="forest", color="#00ff00"),
    ),
)


@pytest.mark.parametrize("name", ["forest", "logistic", "boosting"])
def test_labels_of_one_class_alone_say_that_class_everywhere(name: str) -> None:
    features = np.random.default_rng(0).random((2, 6, 5), np.float32)
    labels = np.zeros((6, 5), np.uint8)
    labels[2:] = 7
    learned = classical.trained(classical.classifier_of(name, 0), [(features, labels)], 99, 0)
    found = classical.probabilities(learned, features, LEGEND)
    assert (found[0] == 0).all()
    assert (found[1] == 1).all()


def test_a_pixel_without_an_observation_leaves_the_squares_around_it_as_they_are() -> None:
    radar = np.full((1, 9, 9), -1200, np.int16)
    radar[0, 4, 4] = -32768
    features = bands_of({"s1": radar}, {"s1": -32768}, (5,))
    assert np.allclose(features[1], -1200)
    assert np.allclose(features[2], 0, atol=0.5)
