import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sscl_geo.ops.morphology import dilated, eroded, opened


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    return random.random(shape) < draw(st.sampled_from([0.02, 0.5, 0.95]))


def disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y**2 + x**2 <= radius**2)


@given(masks(), st.integers(0, 8))
def test_it_is_scipys_morphology_with_a_disk(mask: np.ndarray, radius: int) -> None:
    shape = disk(radius)
    assert np.array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, shape))
    assert np.array_equal(eroded(mask, radius), ndimage.binary_erosion(mask, shape, border_value=1))


@given(masks(), st.integers(0, 5))
def test_opening_only_removes_and_twice_is_once(mask: np.ndarray, radius: int) -> None:
    once = opened(mask, radius)
    assert not (once & ~mask).any()
    assert np.array_equal(opened(once, radius), once)
