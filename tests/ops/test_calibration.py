"""A temperature undoes what was done to logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.calibration import fitted_temperature


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
