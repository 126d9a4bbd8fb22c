"""Speckle filters: less speckle, the same mean, and edges that stay."""

import numpy as np
import pytest

from sscl_geo import plugins

FILTERS = "sscl_geo.ops.despeckle"
LOOKS = 4.4


def fields(side: int = 64) -> np.ndarray:
    ground = np.full((side, side), 0.02, np.float32)
    ground[:, side // 2 :] = 0.2
    ground[side // 2 :, : side // 4] = 0.08
    return ground


def speckled(ground: np.ndarray, seed: int = 0) -> np.ndarray:
    speckle = np.random.default_rng(seed).gamma(LOOKS, 1 / LOOKS, ground.shape)
    return (ground * speckle).astype(np.float32)


def decibel_error(found: np.ndarray, ground: np.ndarray) -> float:
    return float(np.sqrt(np.mean((10 * np.log10(found / ground)) ** 2)))


@pytest.mark.parametrize("name", plugins.names(FILTERS))
def test_a_filter_halves_the_error_and_keeps_the_mean(name: str) -> None:
    ground = fields()
    noisy = speckled(ground)
    found = plugins.find(FILTERS, name).despeckle(noisy, LOOKS)
    assert found.shape == noisy.shape
    assert found.dtype == np.float32
    assert (found > 0).all()
    assert decibel_error(found, ground) < 0.62 * decibel_error(noisy, ground)
    inside = np.s_[8:24, 40:60]
    assert abs(10 * np.log10(found[inside].mean() / ground[inside].mean())) < 0.5


@pytest.mark.parametrize("name", plugins.names(FILTERS))
def test_brighter_input_makes_brighter_output_and_nothing_else(name: str) -> None:
    noisy = speckled(fields(48), seed=1)
    module = plugins.find(FILTERS, name)
    once, scaled = module.despeckle(noisy, LOOKS), module.despeckle(8 * noisy, LOOKS)
    assert np.allclose(scaled, 8 * once, rtol=1e-3)
