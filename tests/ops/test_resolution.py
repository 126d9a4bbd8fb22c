"""Detail: a copy is as sharp as the image, a blur is not, and flat maps have none."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sscl_geo.ops.resolution import detail, principal


def image(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (4, 64, 64))
    return np.asarray(gaussian_filter(noise, (0, 1, 1)), np.float32)


def test_a_linear_copy_has_the_detail_of_the_image() -> None:
    mixed = np.tensordot(np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0], image(), 1)
    found = detail(mixed.astype(np.float32), image())
    assert found is not None
    assert found.gradient == pytest.approx(1, rel=1e-3)
    assert found.frequency == pytest.approx(1, rel=1e-6)


def test_the_wider_the_blur_the_less_detail() -> None:
    widths = (1, 2, 4)
    found = [detail(gaussian_filter(image(), (0, w, w)), image()) for w in widths]
    for name in ("gradient", "frequency"):
        values = [getattr(one, name) for one in found]
        assert values == sorted(values, reverse=True)
        assert values[0] < 0.8


def test_flat_maps_have_no_detail_and_to_a_flat_image_nothing_compares() -> None:
    flat = np.ones((2, 8, 8), np.float32)
    assert detail(flat, image()[:, :8, :8]) == (0.0, 0.0)
    assert detail(image()[:, :8, :8], flat) is None


def test_components_are_of_unit_variance_and_do_not_vary_together() -> None:
    found = principal(image()).reshape(3, -1)
    assert np.allclose(found @ found.T / found.shape[1], np.eye(3), atol=1e-4)
