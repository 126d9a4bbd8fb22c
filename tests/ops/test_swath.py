import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sscl_geo.ops.swath import SwathSpec, trimmed


@st.composite
def swaths(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(20, 50)), draw(st.integers(20, 50))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    y, x = np.ogrid[: shape[0], : shape[1]]
    slope, start = draw(st.floats(-0.5, 0.5)), draw(st.floats(-10.0, 40.0))
    is_valid = (x > start + slope * y) & (random.random(shape) > 0.01)
    for radius in draw(st.lists(st.integers(0, 4), max_size=9)):
        # Half disks: the opening leaves one alone unless an edge hides that its half is missing.
        middle = [int(random.integers(0, size)) for size in shape]
        is_disk = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2
        is_valid &= ~(is_disk & (x >= middle[1]))
    return np.asarray(is_valid)


specs = st.builds(SwathSpec, edge_px=st.integers(0, 5), hole_px=st.integers(0, 3))


def test_pixels_near_the_swaths_end_are_dropped() -> None:
    is_valid = np.broadcast_to(np.arange(30) >= 10, (30, 30))
    kept = trimmed(is_valid, SwathSpec(edge_px=3))
    assert np.array_equal(kept, np.broadcast_to(np.arange(30) >= 13, (30, 30)))


def test_a_hole_grows_and_a_missing_pixel_does_not() -> None:
    is_valid = np.ones((40, 40), np.bool_)
    is_valid[8, 8] = is_valid[20:26, 20:26] = False
    kept = trimmed(is_valid, SwathSpec())
    assert np.array_equal(~kept[:14, :14], ~is_valid[:14, :14])
    assert not kept[17:29, 22:24].any()
    assert kept[16, :].all()


@given(swaths(), specs)
def test_nothing_is_added(is_valid: np.ndarray, spec: SwathSpec) -> None:
    assert not (trimmed(is_valid, spec) & ~is_valid).any()


@given(swaths(), st.integers(0, 5))
def test_without_an_opening_it_is_the_distance_to_what_is_missing(
    is_valid: np.ndarray, edge_px: int
) -> None:
    kept = trimmed(is_valid, SwathSpec(edge_px=edge_px, hole_px=0))
    if is_valid.all():
        assert kept.all()
    else:
        assert np.array_equal(kept, ndimage.distance_transform_edt(is_valid) > edge_px)


@given(swaths(), specs, st.booleans())
def test_a_block_with_its_margin_is_trimmed_as_the_whole(
    is_valid: np.ndarray, spec: SwathSpec, is_turned: bool
) -> None:
    is_valid = is_valid.T if is_turned else is_valid
    whole = trimmed(is_valid, spec)
    for y in range(len(whole)):
        top = max(y - spec.reach, 0)
        assert np.array_equal(trimmed(is_valid[top:], spec)[y - top :], whole[y:])
