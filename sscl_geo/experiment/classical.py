"""Random forests and other classical classifiers, on bands or on frozen features."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sscl_geo.geo.legend import UNLABELLED, Legend

VERSION = 1
"""Of what classifiers see and learn: what a cell found under another one is learned anew."""

Features = Float32[np.ndarray, "feature y x"]
Classifier = Any


def classifier_of(name: str, seed: int, trees: int = 200) -> Classifier:
    """Return an untrained classifier by name."""
    builders: dict[str, Callable[[], Classifier]] = {
        "forest": lambda: RandomForestClassifier(trees, random_state=seed, n_jobs=1),
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        "boosting": lambda: HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.1, l2_regularization=1.0, random_state=seed
        ),
    }
    return builders[name]()


def trained(
    classifier: Classifier,
    chips: Iterable[tuple[Features, UInt8[np.ndarray, "y x"]]],
    pixels: int,
    seed: int,
) -> Classifier:
    """Train a classifier on at most so many labelled pixels of each chip, drawn by the seed."""
    random = np.random.default_rng([seed, 2])
    samples, classes = [], []
    for features, labels in chips:
        rows, columns = np.nonzero(labels != UNLABELLED)
        chosen = random.permutation(len(rows))[:pixels]
        samples.append(features[:, rows[chosen], columns[chosen]].T)
        classes.append(labels[rows[chosen], columns[chosen]])
    known = np.concatenate(classes)
    # Not every classifier can learn that there is but one class.
    learner = classifier if len(np.unique(known)) > 1 else DummyClassifier()
    return learner.fit(np.concatenate(samples), known)


def probabilities(
    classifier: Classifier, features: Features, legend: Legend
) -> Float32[np.ndarray, "class y x"]:
    """Return the probability of every class of a legend at every pixel."""
    count, height, width = features.shape
    found = classifier.predict_proba(features.reshape(count, -1).T)
    whole = np.zeros((len(legend.classes), height * width), np.float32)
    whole[legend.indices(classifier.classes_)] = found.T
    return whole.reshape(-1, height, width)
