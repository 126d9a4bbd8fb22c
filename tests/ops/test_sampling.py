import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from sscl_geo.ops.sampling import equal, proportional, ranks

PIXELS = st.lists(st.integers(0, 10**7), min_size=2, max_size=8).map(np.array)


@given(PIXELS, st.integers(0, 300), st.integers(0, 2**31))
def test_ranks_are_distinct_ascending_and_within_their_class(
    pixels: np.ndarray, points: int, seed: int
) -> None:
    wanted = equal(pixels, points)
    assert (wanted == np.minimum(pixels, points)).all()
    drawn = ranks(pixels, wanted, seed)
    for chosen, count, number in zip(drawn, pixels, wanted, strict=True):
        assert len(chosen) == number
        assert (np.diff(chosen) > 0).all()
        assert number == 0 or (chosen[0] >= 0 and chosen[-1] < count)
    again = ranks(pixels, wanted, seed)
    assert all(np.array_equal(one, two) for one, two in zip(drawn, again, strict=True))


def test_each_pixel_is_as_likely_as_any_other() -> None:
    counts = np.zeros(40)
    for seed in range(4000):
        counts[ranks(np.array([40]), np.array([7]), seed)[0]] += 1
    assert chisquare(counts).pvalue > 0.001


@given(PIXELS, st.integers(0, 2000), st.integers(0, 60))
def test_rare_classes_get_the_least_number_and_the_others_their_share(
    pixels: np.ndarray, total: int, fewest: int
) -> None:
    hectares = pixels / 100
    points = proportional(pixels, hectares, total, fewest)
    assert (points <= pixels).all()
    assert (points >= np.minimum(pixels, fewest)).all()
    free = points > np.minimum(pixels, fewest)
    larger = free & (points < pixels)
    if larger.sum() > 1:
        rates = points[larger] / hectares[larger]
        assert np.ptp(rates) <= (1 / hectares[larger]).max() + 1e-9


def test_proportions_are_those_of_a_known_design() -> None:
    # Olofsson et al. 2014, section 5.1.1: 75 for rare classes, the rest in proportion.
    pixels = np.array([200000, 150000, 3200000, 6450000])
    found = proportional(pixels, pixels * 0.09, 640, 75)
    assert found.tolist() == [75, 75, 162, 328]
