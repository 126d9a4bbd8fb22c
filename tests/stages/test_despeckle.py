"""Despeckled chips: radar is smoother, the rest is what it was."""

import math
from pathlib import Path

import numpy as np
import pytest

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import Chips, write_chips
from sscl_geo.io.chipsets import hls_worldcover, sen12ms
from sscl_geo.plugins import shipped
from sscl_geo.stages.despeckle import despeckle_chips


@pytest.fixture(scope="module")
def chips(realdata: Path, dfc2020: Legend, tmp_path_factory: pytest.TempPathFactory) -> Chips:
    source = sen12ms.chip_source(realdata / "dfc2020_layout", dfc2020)
    return write_chips(source, tmp_path_factory.mktemp("dfc") / "chips.zarr")


@pytest.mark.parametrize("name", ["lee", "lognlm"])
def test_real_radar_gets_a_smoother_one_beside_it_and_nothing_changes(
    chips: Chips, tmp_path: Path, name: str
) -> None:
    made = despeckle_chips(chips.path, tmp_path / "out.zarr", name, 4.4)
    before, after = (
        np.asarray(made.store.array(array)[...]).astype(float)
        for array in ("s1_grd", "s1_grd_dspk")
    )
    assert np.array_equal(before == -32768, after == -32768)
    whole = before.min((1, 2, 3)) > -32768
    roughness = [np.abs(np.diff(one[whole], axis=-1)).mean() for one in (before, after)]
    assert roughness[1] < 0.6 * roughness[0]
    known = before != -32768
    mean_before, mean_after = ((10 ** (v[known] / 1000)).mean() for v in (before, after))
    assert abs(10 * np.log10(mean_after / mean_before)) < 0.6
    for name_of in ("s1_grd", "s2_l1c", "labels"):
        assert np.array_equal(
            np.asarray(made.store.array(name_of)[...]), np.asarray(chips.store.array(name_of)[...])
        )
    assert made.chips == chips.chips


def test_what_cannot_be_filtered_is_told(chips: Chips, realdata: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--filter 'magic': unknown; choose one of"):
        despeckle_chips(chips.path, tmp_path / "out.zarr", "magic", 4.4)
    for looks in (0.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match=f"--looks {looks:g}: must be above 0"):
            despeckle_chips(chips.path, tmp_path / "out.zarr", "lee", looks)
    worldcover = read_yaml(Legend, shipped("catalogs") / "legends" / "worldcover.yaml")
    source = hls_worldcover.chip_source(realdata / "hls_worldcover.npz", worldcover)
    optical = write_chips(source, tmp_path / "optical.zarr")
    with pytest.raises(InvalidInputError, match="has no radar to filter"):
        despeckle_chips(optical.path, tmp_path / "out.zarr", "lee", 4.4)
