import numpy as np
import pytest
from scipy import optimize

from sscl_geo.ops.compositors.geomedian import composite


def objective(point: np.ndarray, spectra: np.ndarray, weights: np.ndarray) -> float:
    return float((weights * np.linalg.norm(spectra - point, axis=1)).sum())


@pytest.mark.parametrize("seed", range(12))
def test_no_other_spectrum_is_nearer_to_all_observations(seed: int) -> None:
    random = np.random.default_rng(seed)
    time, bands = int(random.integers(3, 12)), int(random.integers(2, 7))
    spectra = random.normal(3000, 400, (time, bands)).clip(1, 65535).round()
    spectra[: time // 3] += 5000
    weights = random.integers(1, 256, time)
    found = composite(
        spectra.astype(np.uint16)[..., np.newaxis, np.newaxis],
        weights.astype(np.uint8)[:, np.newaxis, np.newaxis],
    ).pixels[:, 0, 0]
    best = optimize.minimize(
        objective, spectra.mean(axis=0), (spectra, weights), "Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-6, "maxiter": 40000, "maxfev": 40000},
    )  # fmt: skip
    # Half a DN of rounding in each band costs at most this much.
    slack = weights.sum() * 0.75 * np.sqrt(bands)
    assert objective(found.astype(float), spectra, weights) <= best.fun + slack
    assert np.abs(found - best.x).max() <= 0.01 * np.ptp(spectra, axis=0).max()


def test_a_minority_of_clouds_hardly_moves_it() -> None:
    random = np.random.default_rng(0)
    ground = random.normal((1300, 1600, 1500, 4200), 60, (9, 4)).round().astype(np.uint16)
    clouds = np.full((4, 4), 9000, np.uint16)
    ones = np.ones((13, 1, 1), np.uint8)
    stack = np.concatenate([ground, clouds])[..., np.newaxis, np.newaxis]
    found = composite(stack, ones).pixels[:, 0, 0].astype(float)
    assert np.abs(found - np.median(ground, axis=0)).max() < 150


def test_weights_decide_between_two_observations() -> None:
    stack = np.array([[1000, 2000], [3000, 5000]], np.uint16)[..., np.newaxis, np.newaxis]
    weights = np.array([[[9, 1, 5]], [[1, 9, 5]]], np.uint8)
    found = composite(np.repeat(stack, 3, axis=3), weights).pixels[:, 0]
    assert np.abs(found.T.astype(int) - [[1000, 2000], [3000, 5000], [2000, 3500]]).max() <= 1


def test_bands_are_turned_together() -> None:
    # Unlike a median of each band it follows a rotation of the spectral axes.
    random = np.random.default_rng(1)
    spectra = random.normal(20000, 3000, (9, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = (spectra - 20000) @ turn.T + 20000

    def median(values: np.ndarray) -> np.ndarray:
        stack = values.round().astype(np.uint16)[..., np.newaxis, np.newaxis]
        return composite(stack, np.ones((9, 1, 1), np.uint8)).pixels[:, 0, 0].astype(float)

    assert np.abs((median(spectra) - 20000) @ turn.T + 20000 - median(turned)).max() < 2
