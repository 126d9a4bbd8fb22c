"""A temperature undoes what was done to logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from sscl_geo.ops.calibration import fitted_temperature, logits_of, tempered


@given(st.sampled_from([0.3, 1.0, 2.5, 6.0]), st.integers(0, 50))
def test_the_temperature_of_sharpened_logits_is_found(factor: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    true = random.normal(0, 2, (20_000, 4))
    odds = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = (odds.cumsum(1) < random.random((len(odds), 1))).sum(1).clip(max=3)
    found = fitted_temperature((factor * true).astype(np.float32), labels)
    assert found == pytest.approx(factor, rel=0.08)


def test_a_network_that_is_always_right_becomes_as_sure_as_allowed() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    assert fitted_temperature(logits, np.array([0, 1, 2])) == pytest.approx(0.05, rel=0.01)


@given(st.floats(0.05, 20), st.integers(0, 50))
def test_tempered_probabilities_are_those_of_divided_logits(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (5, 3, 4)).astype(np.float32)
    given, wanted = (softmax(one, axis=0) for one in (logits, logits / temperature))
    np.testing.assert_allclose(tempered(given, temperature), wanted, atol=1e-4)


def test_a_forest_s_zero_stays_the_least_and_is_no_infinity() -> None:
    zero = np.array([[0.0], [1.0]], np.float32)
    assert np.isfinite(logits_of(zero)).all()
    assert tempered(zero, 5.0)[:, 0] == pytest.approx([0.0383, 0.9617], abs=1e-3)
