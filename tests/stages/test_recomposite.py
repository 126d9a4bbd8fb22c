"""A cube of days gives the composites that the catalogue would have given, with any mask."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from sscl_geo.errors import InvalidInputError
from sscl_geo.ops.masks import MaskSpec
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import CompositeRequest, Method, composite_days, ingest, resume
from sscl_geo.stages.upkeep import verify

COMPARED = ("s2", "n_valid_s2", "n_valid_s1", "doy_s2", "time", "time_bounds")
GROUPS = ("epsg32633/r10m", "epsg32633/r20m")


@pytest.fixture(scope="module")
def days(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("days") / "days.zarr"
    ingest(world.request(period="day", tile_px=512), out, Machines())
    return out


def arrays(store: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for group in GROUPS:
        opened = xarray.open_zarr(store, group=group, mask_and_scale=False, decode_times=False)
        found |= {f"{group}/{name}": opened[name].values for name in opened.variables}
    return found


def test_days_are_kept_as_they_were_seen_with_their_mask(days: Path) -> None:
    group = xarray.open_zarr(days, group="epsg32633/r20m", mask_and_scale=False)
    assert group.sizes["time"] == 14  # six days of Sentinel-2, eight of Sentinel-1
    assert "cloud" in group.mask_s2.attrs["flag_meanings"].split()
    bit = dict(
        zip(
            group.mask_s2.attrs["flag_meanings"].split(),
            group.mask_s2.attrs["flag_masks"],
            strict=True,
        )
    )
    cloudy = (group.mask_s2.values & bit["cloud"]) != 0
    assert cloudy.any()
    swir = group.s2.sel(band_s2="B11").values
    assert (swir[cloudy] != 0).all()
    assert verify(days) > 0


@pytest.mark.parametrize(
    "method",
    [
        Method(),
        Method(mask=MaskSpec(opening_px=0, dilation_px=0)),
        Method(compositor="geomedian", mask=MaskSpec(dilation_px=1)),
    ],
    ids=["default", "bare mask", "geomedian"],
)
def test_a_composite_of_days_is_that_of_the_catalogue(
    world: Any, days: Path, tmp_path: Path, method: Method
) -> None:
    ingest(world.request(method=method, tile_px=512), tmp_path / "direct.zarr", Machines())
    request = CompositeRequest(cube=days, period="P3M", method=method)
    assert composite_days(request, tmp_path / "again.zarr", Machines()).done == 2
    direct, again = (arrays(tmp_path / f"{name}.zarr") for name in ("direct", "again"))
    for name in (n for n in direct if n.rsplit("/", 1)[1] in COMPARED):
        assert np.array_equal(direct[name], again[name]), name
    # Radar days were stored to a hundredth of a dB.
    radar = [made["epsg32633/r10m/s1"].astype(int) for made in (direct, again)]
    assert np.abs(radar[0] - radar[1]).max() <= 1


def test_composites_are_repaired_from_their_days(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.zarr"
    composite_days(CompositeRequest(cube=days, period="P3M"), out, Machines())
    before = arrays(out)
    assert xarray.open_zarr(out).attrs["license"] == xarray.open_zarr(days).attrs["license"]
    assert resume(out, Machines()).now == 0
    (out / "ledger.jsonl").unlink()
    assert resume(out, Machines()).now == 2
    for name, values in arrays(out).items():
        assert np.array_equal(values, before[name]), name


def test_composites_have_no_days_to_composite(learned: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="ingest it with --period day"):
        composite_days(
            CompositeRequest(cube=learned.cube, period="P1M"), tmp_path / "c", Machines()
        )
