from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sscl_geo.errors import InvalidInputError
from sscl_geo.ops.masks import FLAGS, MaskSpec, is_seen, refined, scl_bits

GROUND = {
    2: "dark area",
    4: "vegetation",
    5: "bare soil",
    6: "water",
    7: "unclassified",
    11: "snow",
}
PLAIN = MaskSpec(opening_px=0, dilation_px=0)
ALL_CLASSES = np.arange(12, dtype=np.uint8).reshape(3, 4)


@st.composite
def layers(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(20, 60)), draw(st.integers(20, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    rough = ndimage.gaussian_filter(random.normal(size=shape), draw(st.floats(0.0, 4.0)))
    place = rough.ravel().argsort().argsort().reshape(shape) / rough.size
    return np.asarray(np.floor(place * 12).astype(np.uint8))


@st.composite
def half_clouds(draw: st.DrawFn) -> np.ndarray:
    # The opening leaves half a disk alone unless an edge hides that its half is missing.
    y, x = np.ogrid[:40, :40]
    scl = np.full((40, 40), 4, np.uint8)
    radius, middle = draw(st.integers(0, 4)), draw(st.integers(4, 36))
    scl[((y - 20) ** 2 + (x - middle) ** 2 <= radius**2) & (x >= middle)] = 9
    return scl


specs = st.builds(
    MaskSpec,
    hide=st.sets(st.sampled_from(sorted(FLAGS))).map(tuple),
    opening_px=st.integers(0, 3),
    dilation_px=st.integers(0, 5),
)


def test_every_flag_is_one_bit_of_a_byte() -> None:
    assert sorted(FLAGS.values()) == [2**bit for bit in range(8)]


def test_every_class_sets_its_flag() -> None:
    bits = scl_bits(ALL_CLASSES).ravel().tolist()
    names = {bit: name for name, bit in FLAGS.items()}
    assert [names.get(bit) for bit in bits] == [
        "nodata", "saturated", "dark", "shadow", None, None,
        "water", None, "cloud", "cloud", "cirrus", "snow",
    ]  # fmt: skip


def test_the_ground_is_seen_in_these_classes_of_the_scene_classification() -> None:
    seen = is_seen(scl_bits(ALL_CLASSES), PLAIN)
    assert set(ALL_CLASSES[seen].tolist()) == set(GROUND)


def test_snow_hides_the_ground_if_asked() -> None:
    spec = PLAIN.replace(hide=(*PLAIN.hide, "snow"))
    assert set(ALL_CLASSES[is_seen(scl_bits(ALL_CLASSES), spec)].tolist()) == set(GROUND) - {11}


def test_missing_ground_is_never_seen() -> None:
    assert not is_seen(scl_bits(np.zeros((4, 4), np.uint8)), PLAIN.replace(hide=())).any()


@pytest.mark.parametrize("value", [12, 255])
def test_a_value_that_is_no_class_is_refused(value: int) -> None:
    with pytest.raises(InvalidInputError, match=f"SCL value {value}: .* classes 0 to 11; point"):
        scl_bits(np.array([[4, value]], np.uint8))


def test_a_bright_roof_is_ground_and_a_cloud_hides_what_is_near() -> None:
    scl = np.full((60, 60), 4, np.uint8)
    scl[5:8, 5:8] = 9
    scl[30:40, 30:40] = 9
    seen = is_seen(scl_bits(scl), MaskSpec())
    assert seen[:20, :20].all()
    assert not seen[25:45, 32:38].any()
    assert not seen[32:38, 25:45].any()
    assert seen[24, :].all()
    assert seen[:, 45].all()


@given(layers(), specs)
def test_a_pixel_alone_decides_on_missing_and_saturated(scl: np.ndarray, spec: MaskSpec) -> None:
    scl[(scl != 0) & (scl != 1)] = 4
    hidden = [0, 1] if "saturated" in spec.hide else [0]
    assert np.array_equal(is_seen(scl_bits(scl), spec), ~np.isin(scl, hidden))


@given(layers() | half_clouds(), specs, st.booleans())
def test_a_block_with_its_margin_is_seen_as_in_the_whole(
    scl: np.ndarray, spec: MaskSpec, is_turned: bool
) -> None:
    bits = scl_bits(scl.T if is_turned else scl)
    whole = is_seen(bits, spec)
    for y in range(len(whole)):
        top = max(y - spec.reach, 0)
        assert np.array_equal(is_seen(bits[top:], spec)[y - top :], whole[y:])


@given(layers(), specs)
def test_a_wider_margin_never_shows_more_ground(scl: np.ndarray, spec: MaskSpec) -> None:
    wider = spec.replace(dilation_px=spec.dilation_px + 1)
    bits = scl_bits(scl)
    assert not (is_seen(bits, wider) & ~is_seen(bits, spec)).any()


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_a_finer_mask_says_the_same_of_the_same_ground(
    height: int, width: int, factor: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    fine = refined(mask, factor)
    assert fine.shape == (height * factor, width * factor)
    for y, x in np.ndindex(fine.shape):
        assert fine[y, x] == mask[y // factor, x // factor]


def test_what_the_margin_hides_is_mostly_haze_and_what_it_leaves_is_not(realdata: Path) -> None:
    hazy: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for layer in sorted((realdata / "stac" / "sentinel-2-l2a").glob("S2_31UDS*/SCL.tif")):
        with rasterio.open(layer) as scl, rasterio.open(layer.with_name("B02.tif")) as band:
            bits, blue = scl_bits(scl.read(1)), band.read(1)
        near, far = (refined(is_seen(bits, spec), 2) for spec in (PLAIN, MaskSpec()))
        is_hazy = blue > 1000
        hazy[True].append(is_hazy[far])
        hazy[False].append(is_hazy[near & ~far])
    left, hidden = (np.concatenate(hazy[is_left]).mean() for is_left in (True, False))
    assert hidden > 0.6
    assert left < 0.2
