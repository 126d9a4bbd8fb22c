"""The damages of CoRe."""

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.degradations import BlurSpec, DegradationSpec, band_groups, degrade
from sscl_geo.learn.spec import NetworkSpec

GROUPS = torch.tensor([[True, True, True, False], [False, False, False, True]])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def present(bands: Tensor) -> Tensor:
    """No band is absent."""
    return torch.zeros(bands.shape[:2], dtype=torch.bool)


def network(names: Sequence[str], array: str) -> NetworkSpec:
    bands = [
        BandInput(name=name, array=array, gsd=10, nodata=0, low=0, high=1, mean=0, spread=1)
        for name in names
    ]
    return NetworkSpec(bands=tuple(bands))


@given(seed=st.integers(0, 100_000), side=st.integers(2, 20))
def test_dropped_bands_are_exactly_zero_and_one_band_stays(seed: int, side: int) -> None:
    bands = torch.randn(3, 4, side, side, generator=generator(seed)) + 10
    damaged = degrade(
        bands, present(bands), GROUPS, DegradationSpec(group_probability=0.9), generator(seed)
    )
    assert (damaged.bands[damaged.is_dropped] == 0).all()
    seen = (~damaged.is_dropped)[:, :, None, None] & ~damaged.is_cut[:, None]
    assert (damaged.bands[seen] != 0).all()
    assert (~damaged.is_dropped).any(1).all()
    assert damaged.is_dropped.any(1).all()


@given(seed=st.integers(0, 100_000))
def test_what_is_hidden_shows_nowhere(seed: int) -> None:
    bands = torch.randn(3, 4, 20, 20, generator=generator(seed))
    spec = DegradationSpec(blur=BlurSpec(probability=1.0))
    damaged = degrade(bands, present(bands), GROUPS, spec, generator(seed))
    hidden = damaged.is_dropped[:, :, None, None] | damaged.is_cut[:, None]
    others = torch.where(hidden, bands + 5, bands)
    again = degrade(others, present(others), GROUPS, spec, generator(seed))
    assert torch.equal(again.bands, damaged.bands)


def test_where_blur_comes_first_cuts_have_sharp_edges() -> None:
    bands = torch.randn(3, 4, 20, 20, generator=generator(0)) + 10
    spec = DegradationSpec(blur=BlurSpec(probability=1.0), blurs_last=False)
    damaged = degrade(bands, present(bands), GROUPS, spec, generator(0))
    hidden = damaged.is_dropped[:, :, None, None] | damaged.is_cut[:, None]
    assert (damaged.bands[hidden] == 0).all()
    assert (damaged.bands[~hidden] > 2).all()


def test_the_same_draw_damages_the_same() -> None:
    bands = torch.randn(3, 4, 20, 20, generator=generator(0))
    one, other = (
        degrade(bands, present(bands), GROUPS, DegradationSpec(), generator(5)) for _ in range(2)
    )
    assert torch.equal(one.bands, other.bands)


def test_without_blur_the_rest_of_the_image_is_untouched() -> None:
    bands = torch.randn(3, 4, 20, 20, generator=generator(0))
    damaged = degrade(
        bands, present(bands), GROUPS, DegradationSpec(blur=BlurSpec(probability=0.0)), generator(1)
    )
    hidden = damaged.is_dropped[:, :, None, None] | damaged.is_cut[:, None]
    assert torch.equal(damaged.bands[~hidden], bands[~hidden])


def test_blur_keeps_a_flat_image_and_smooths_a_rough_one() -> None:
    spec = DegradationSpec(blur=BlurSpec(probability=1.0, sigma=(1.5, 1.5)), cutouts=0)
    flat = torch.full((2, 4, 20, 20), 3.0)
    rough = torch.randn(2, 4, 20, 20, generator=generator(2))
    kept_flat = degrade(flat, present(flat), GROUPS, spec, generator(3))
    kept_rough = degrade(rough, present(rough), GROUPS, spec, generator(3))
    kept = ~kept_flat.is_dropped[:, :, None, None].expand_as(flat)
    assert torch.allclose(kept_flat.bands[kept], flat[kept], atol=1e-5)
    assert kept_rough.bands[kept].std() < 0.4 * rough[kept].std()


def test_cutouts_stay_within_their_sizes() -> None:
    spec = DegradationSpec(cutouts=1, cutout_side=(0.25, 0.5))
    bands = torch.ones(50, 4, 16, 16)
    areas = degrade(bands, present(bands), GROUPS, spec, generator(4)).is_cut.sum((1, 2))
    assert areas.min() >= 16
    assert areas.max() <= 64
    assert len({*areas.tolist()}) > 2


def test_groups_are_dropped_together_about_as_often_as_asked() -> None:
    bands = torch.ones(400, 4, 8, 8)
    spec = DegradationSpec(group_probability=0.5)
    dropped = degrade(bands, present(bands), GROUPS, spec, generator(6)).is_dropped
    # At most two of four bands are dropped one by one, so three are only dropped as a group: half
    # the time, half of that this group, and whole unless the fourth band (3 in 8) was dropped too.
    share = float(dropped[:, :3].all(1).float().mean())
    assert abs(share - 0.5 * 0.5 * 5 / 8) < 0.06


@given(seed=st.integers(0, 10_000), has_first=st.booleans())
def test_a_band_that_a_sample_has_stays_where_others_are_absent(
    seed: int, *, has_first: bool
) -> None:
    bands = torch.randn(8, 4, 8, 8, generator=generator(seed))
    is_absent = present(bands)
    is_absent[:, 3:] = has_first
    is_absent[:, :3] = not has_first
    damaged = degrade(
        bands, is_absent, GROUPS, DegradationSpec(group_probability=0.9), generator(seed)
    )
    assert (~damaged.is_dropped & ~is_absent).any(1).all()


def test_groups_are_sensors_periods_and_the_sharpest_optical_bands_wherever_they_are_stored() -> (
    None
):
    optical = [f"sentinel2_l1c:{name}" for name in ("B02", "B03", "B11")]
    radar = [f"sentinel1_grd:{name}" for name in ("VV", "VH")]
    groups = band_groups(network([*optical, *radar], "s2_l1c")).tolist()
    assert [True, True, True, False, False] in groups
    assert [False, False, False, True, True] in groups
    assert [True, True, False, False, False] in groups
    assert len(groups) == 3


def test_bands_of_one_sensor_time_and_resolution_are_dropped_one_by_one_alone() -> None:
    spec = network([f"hls_l30:B0{number}" for number in range(2, 8)], "hls")
    bands = torch.ones(200, 6, 16, 16)
    strength = DegradationSpec(group_probability=1.0)
    dropped = degrade(bands, present(bands), band_groups(spec), strength, generator(0)).is_dropped
    assert {*dropped.sum(1).tolist()} == {1, 2, 3}
