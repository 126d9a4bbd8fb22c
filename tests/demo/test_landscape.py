from typing import Final

import numpy as np
import pytest

from sscl_geo.demo.landscape import Landscape, make_landscape
from sscl_geo.demo.sensing import LOOKS, backscatter, reflectance
from sscl_geo.demo.signatures import BANDS, CLASSES, COVERS, GSD_M
from sscl_geo.errors import InvalidInputError

SIZE_PX: Final = 240
FOREST, CROPLANDS, WATER = 1, 6, 10


@pytest.fixture(scope="module")
def land() -> Landscape:
    return make_landscape(7, SIZE_PX)


def flat(code: int, size_px: int = 360) -> Landscape:
    """Make land of one kind without any variation."""
    shape = (size_px, size_px)
    covers = np.full(shape, code, np.uint8)
    still = np.zeros(shape, np.float32)
    land_class = list(COVERS.values())[code].land_class
    classes = np.full(shape, land_class, np.uint8)
    return Landscape(classes, covers, covers.astype(np.int32), *(still,) * 5)


@pytest.mark.parametrize("seed", range(4))
def test_every_class_covers_a_share_on_both_sides(seed: int) -> None:
    classes = make_landscape(seed, SIZE_PX).classes
    column = SIZE_PX * 6 // 10
    for side in (classes[:, :column], classes[:, column:]):
        codes, counts = np.unique(side, return_counts=True)
        assert set(codes.tolist()) == set(CLASSES)
        assert counts.min() >= 0.03 * side.size


def test_a_seed_makes_one_land_and_another_seed_another(land: Landscape) -> None:
    again, other = make_landscape(7, SIZE_PX), make_landscape(8, SIZE_PX)
    assert all(np.array_equal(a, b) for a, b in zip(land, again, strict=True))
    assert (land.classes != other.classes).mean() > 0.3


def test_land_lies_in_patches_and_not_in_grains(land: Landscape) -> None:
    same = (land.classes[:, 1:] == land.classes[:, :-1]).mean()
    assert same > 0.9


@pytest.mark.parametrize("size_px", [48, 239, 250])
def test_a_size_without_whole_coarse_pixels_is_refused(size_px: int) -> None:
    with pytest.raises(InvalidInputError, match="multiple of 12"):
        make_landscape(1, size_px)


def test_every_band_lies_on_its_own_grid_and_within_zero_and_one(land: Landscape) -> None:
    seen = reflectance(land, 180, np.random.default_rng(1))
    assert tuple(seen) == BANDS
    for band, values in seen.items():
        assert values.shape == (SIZE_PX * 10 // GSD_M[band],) * 2
        assert 0 <= values.min() <= values.max() <= 1


def test_leaves_are_green_in_summer_and_water_is_dark(land: Landscape) -> None:
    summer = reflectance(land, 190, np.random.default_rng(1))
    winter = reflectance(land, 20, np.random.default_rng(1))
    forest, water = land.classes == FOREST, land.classes == WATER
    assert (summer["B08"] / summer["B04"])[forest].mean() > 5
    assert summer["B08"][forest].mean() > 1.15 * winter["B08"][forest].mean()
    assert summer["B08"][water].mean() < 0.1


def test_crops_differ_from_one_date_to_the_next_more_than_forest(land: Landscape) -> None:
    early = reflectance(land, 130, np.random.default_rng(1))["B08"]
    late = reflectance(land, 215, np.random.default_rng(2))["B08"]
    change = np.abs(late - early)
    crops, forest = land.classes == CROPLANDS, land.classes == FOREST
    assert change[crops].mean() > 2 * change[forest].mean()


def test_single_pixels_of_different_classes_overlap(land: Landscape) -> None:
    red = reflectance(land, 180, np.random.default_rng(1))["B08"]
    crops, forest = red[land.classes == CROPLANDS], red[land.classes == FOREST]
    assert np.quantile(forest, 0.75) > np.quantile(crops, 0.25)


def test_the_instrument_blurs_borders() -> None:
    land = flat(0, 120)
    covers = land.covers.copy()
    covers[:, 60:] = list(COVERS).index("lake")
    seen = reflectance(land._replace(covers=covers), 190, np.random.default_rng(1))["B08"]
    profile = seen.mean(0)
    assert profile[59] < 0.98 * profile[:50].mean()
    assert profile[60] > 1.5 * profile[70:].mean()


def test_speckle_is_gamma_of_4_4_looks_and_correlated() -> None:
    power = backscatter(flat(1), 180, np.random.default_rng(3))["VV"].astype(np.float64)
    inner = power[8:-8, 8:-8]
    assert inner.var() / inner.mean() ** 2 == pytest.approx(1 / LOOKS, rel=0.15)
    for axis in (0, 1):
        ahead, behind = np.delete(inner, 0, axis), np.delete(inner, -1, axis)
        assert np.corrcoef(ahead.ravel(), behind.ravel())[0, 1] > 0.3


def test_speckle_differs_between_polarisations_and_dates() -> None:
    first = backscatter(flat(1), 180, np.random.default_rng(3))
    second = backscatter(flat(1), 180, np.random.default_rng(4))
    assert abs(np.corrcoef(first["VV"].ravel(), first["VH"].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(first["VV"].ravel(), second["VV"].ravel())[0, 1]) < 0.1


def test_towns_are_bright_and_water_is_dark_in_radar(land: Landscape) -> None:
    power = backscatter(land, 180, np.random.default_rng(1))["VV"]
    db = {code: 10 * np.log10(power[land.classes == code].mean()) for code in CLASSES}
    assert max(db, key=db.__getitem__) == 7
    assert min(db, key=db.__getitem__) == WATER
    assert -8 < db[7] < -4
