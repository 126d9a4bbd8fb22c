"""Flanders: half a year of real clouds, against a plain NumPy oracle."""

import json
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray

from sscl_geo.frozen import read_yaml
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.profile import source
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import IngestRequest, ingest
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.report import ReportRequest, make_report
from sscl_geo.stages.report.season import season_curves

ZONE = "epsg32631"


@pytest.fixture(scope="module")
def cube(realdata: Path, real_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    item = json.loads(next((realdata / "stac" / "land-cover").glob("WORLD*/*.json")).read_text())
    out = tmp_path_factory.mktemp("flanders") / "cube.zarr"
    request = IngestRequest(
        source=source(real_api, str(Path(__file__).with_name("flanders.yaml"))),
        area=Area(bbox=BBox(*item["bbox"])),
        datetime="2018-03-01/2018-09-30",
        period="P1M",
        tile_px=256,
    )
    assert ingest(request, out, Machines()).done == 7
    return out


def scenes(realdata: Path, month: int) -> Iterator[Path]:
    for path in sorted((realdata / "stac" / "sentinel-2-l2a").glob("*/*.json")):
        properties = json.loads(path.read_text())["properties"]
        when = datetime.fromisoformat(properties["datetime"])
        if properties["place"].startswith("Flanders") and when.month == month:
            yield path.parent


def place(group: xarray.Dataset, file: rasterio.DatasetReader) -> tuple[slice, slice]:
    left = round((file.transform.c + file.res[0] / 2 - group.x.values[0]) / file.res[0])
    top = round((group.y.values[0] + file.res[0] / 2 - file.transform.f) / file.res[0])
    return slice(top, top + file.height), slice(left, left + file.width)


@pytest.mark.parametrize("month", range(3, 10))
@pytest.mark.parametrize(
    ("gsd", "bands"), [(10, ("B02", "B03", "B04", "B08")), (20, ("B05", "B12"))]
)
def test_the_monthly_median_is_numpys_bit_for_bit(
    realdata: Path,
    cube: Path,
    clear_oracle: Callable[..., np.ndarray],
    month: int,
    gsd: int,
    bands: tuple[str, ...],
) -> None:
    group = xarray.open_zarr(cube, group=f"{ZONE}/r{gsd}m", mask_and_scale=False)
    for band in bands:
        stack = []
        for folder in scenes(realdata, month):
            with (
                rasterio.open(folder / "SCL.tif") as mask,
                rasterio.open(folder / f"{band}.tif") as file,
            ):
                clear = clear_oracle(mask.read(1))
                clear = clear if gsd == 20 else clear.repeat(2, 0).repeat(2, 1)
                dn = np.where(clear, file.read(1), 0).astype(float)
                where = place(group, file)
            stack.append(np.where(dn == 0, np.nan, dn + 1000))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All-NaN slice")
            median = np.nan_to_num(np.floor(np.nanmedian(stack, axis=0) + 0.5))
        found = group.s2.sel(band_s2=band).values[month - 3][where]
        assert np.array_equal(found, median.astype(np.uint16))


@pytest.mark.parametrize("month", range(3, 10))
def test_the_number_of_observations_is_a_direct_count(
    realdata: Path, cube: Path, clear_oracle: Callable[..., np.ndarray], month: int
) -> None:
    group = xarray.open_zarr(cube, group=f"{ZONE}/r10m", mask_and_scale=False)
    count = np.zeros((64, 64), int)
    for folder in scenes(realdata, month):
        with rasterio.open(folder / "SCL.tif") as mask:
            seen = clear_oracle(mask.read(1)).repeat(2, 0).repeat(2, 1)
        for band in ("B02", "B03", "B04", "B08"):
            with rasterio.open(folder / f"{band}.tif") as file:
                seen &= file.read(1) > 0
                where = place(group, file)
        count += seen
    assert np.array_equal(group.n_valid_s2.values[month - 3][where], count)


def test_radar_of_another_product_has_an_array_of_its_own(cube: Path) -> None:
    group = xarray.open_zarr(cube, group=f"{ZONE}/r10m")
    assert "s1" not in group
    assert group.s1_grd.attrs["sensor"] == "sentinel1_grd"
    vv = group.s1_grd.sel(band_s1_grd="VV")
    assert -16 < float(vv.mean()) < -6
    assert int(group.n_valid_s1_grd.max()) >= 9


def test_the_season_follows_the_crop_calendar(realdata: Path, cube: Path, tmp_path: Path) -> None:
    """Maize after a winter cover crop: bare in May, green in July, harvested in September.

    Grassland dries in the drought of 2018 and recovers; what is built stays as it is.
    """
    source = next((realdata / "stac" / "land-cover").glob("WORLD*/data.tif"))
    legend = read_yaml(Legend, Path(__file__).with_name("flanders-legend.yaml"))
    make_labels(LabelsRequest(cube=cube, source=source, legend=legend), tmp_path / "labels.zarr")
    curves = season_curves(Cube.open(cube), Classes.open(tmp_path / "labels.zarr", "labels"))
    months = ("March", "April", "May", "June", "July", "August", "September")
    crop, grass, other = (dict(zip(months, curve.ndvi, strict=True)) for curve in curves)
    assert min(crop, key=lambda month: crop[month]) == "May"
    assert max(crop, key=lambda month: crop[month]) == "July"
    assert crop["July"] - crop["May"] > 0.3 < crop["July"] - crop["September"]
    assert min(grass, key=lambda month: grass[month]) == "August"
    assert max(grass, key=lambda month: grass[month]) == "April"
    assert grass["September"] - grass["August"] > 0.2
    assert max(other.values()) - min(other.values()) < 0.2
    report = ReportRequest(title="Flanders", cube=cube, labels=tmp_path / "labels.zarr")
    page = make_report(report, tmp_path / "report").read_text()
    assert "Median NDVI in each period" in page
    assert page.count("Sentinel-2 true colour") >= 7
