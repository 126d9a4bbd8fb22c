import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.ops.masks import is_clear, refined

SEEN = {
    2: "dark area",
    4: "vegetation",
    5: "bare soil",
    6: "water",
    7: "unclassified",
    11: "snow",
}


def test_the_ground_is_seen_in_these_classes_of_the_scene_classification() -> None:
    scl = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert set(scl[is_clear(scl)].tolist()) == set(SEEN)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_a_finer_mask_says_the_same_of_the_same_ground(
    height: int, width: int, factor: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    fine = refined(mask, factor)
    assert fine.shape == (height * factor, width * factor)
    for y, x in np.ndindex(fine.shape):
        assert fine[y, x] == mask[y // factor, x // factor]
