"""Chips: what a benchmark holds is what the store holds, and what does not fit is told."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray
import zarr

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.splits import split_chips
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.inputs import ReflectanceScale
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import Chips, Selection, write_chips
from sscl_geo.io.chipsets import hls_worldcover, sen12ms
from sscl_geo.io.fields import decoded, labelled, opened, selected
from sscl_geo.io.location import location
from sscl_geo.io.statistics import measured_inputs
from sscl_geo.learn.inputs import Normalise
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.plugins import shipped
from sscl_geo.sensors.hls_l30 import SENSOR

LAYOUT = Path("dfc2020_layout")
VALIDATION = LAYOUT / "ROIs0000_validation"


@pytest.fixture(scope="module")
def dfc2020() -> Legend:
    return read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")


@pytest.fixture(scope="module")
def worldcover() -> Legend:
    return read_yaml(Legend, shipped("catalogs") / "legends" / "worldcover.yaml")


@pytest.fixture(scope="module")
def chips(realdata: Path, worldcover: Legend, tmp_path_factory: pytest.TempPathFactory) -> Chips:
    source = hls_worldcover.chip_source(realdata / "hls_worldcover.npz", worldcover)
    return write_chips(source, tmp_path_factory.mktemp("chips") / "chips.zarr")


def test_chips_of_an_npz_open_in_xarray_with_their_reflectance(
    chips: Chips, realdata: Path
) -> None:
    raw = np.load(realdata / "hls_worldcover.npz")
    group = xarray.open_zarr(str(chips.path))
    assert group.hls.dims == ("sample", "band_hls", "y", "x")
    expected = np.where(raw["reflectance"][5] == -9999, np.nan, raw["reflectance"][5] / 1e4)
    assert np.allclose(group.hls[5].values, np.maximum(expected, -0.0999), equal_nan=True)
    assert np.array_equal(group.labels.values, raw["worldcover"])
    assert "tree_cover" in group.labels.attrs["flag_meanings"]


def test_places_that_the_file_calls_different_but_overlap_are_one(
    chips: Chips, realdata: Path
) -> None:
    raw = np.load(realdata / "hls_worldcover.npz")
    places = np.array([chip.place for chip in chips.chips])
    assert len({*places}) == 61
    for name in {*raw["place"]}:
        assert len({*places[raw["place"] == name]}) == 1
    # Named differently, and the same square.
    one, two = (np.flatnonzero(raw["place"] == name) for name in (84, 235))
    heights = raw["dem"][[one[0], two[0]]].astype(int)
    assert np.abs(heights[0] - heights[1]).max() <= 2 < heights[0].std()
    assert places[one[0]] == places[two[0]]
    split = read_yaml(Experiment, shipped("workflows/experiments") / "worldcover.yaml").split
    sides = [{*places[list(side)]} for side in split_chips(chips.chips, split)]
    assert [len(side) for side in sides] == [35, 7, 19]
    assert len(set.union(*sides)) == 61


def test_ground_that_no_band_saw_has_no_label_in_a_store(
    realdata: Path, worldcover: Legend, tmp_path: Path
) -> None:
    whole = np.load(realdata / "hls_worldcover.npz")
    few = {name: whole[name][:2].copy() for name in whole.files if name != "bands"}
    few["reflectance"][1, :, 5:9, 3:] = -9999
    few["reflectance"][0, 2] = -9999
    np.savez(tmp_path / "few.npz", bands=whole["bands"], **few)
    made = write_chips(
        hls_worldcover.chip_source(tmp_path / "few.npz", worldcover), tmp_path / "c.zarr"
    )
    few["worldcover"][1, 5:9, 3:] = 0
    assert np.array_equal(made.labels(), few["worldcover"])


def test_ground_that_no_band_saw_has_no_label_to_learn_from(chips: Chips, tmp_path: Path) -> None:
    shutil.copytree(str(chips.path), tmp_path / "gaps.zarr")
    stored = zarr.open_array(tmp_path / "gaps.zarr", path="hls", mode="r+")
    nodata = SENSOR.nodata
    stored[0, :, :9, :7] = nodata  # all bands
    stored[0, 2, 20:, :] = nodata  # one band
    some = Chips.open(location(tmp_path / "gaps.zarr"), (0, 1))
    names = [band.name for band in some.spec.bands]
    legend = Legend.model_validate(some.spec.legend)
    for name in ([names[0], names[2]], names):
        found = [one for _, one in labelled([some], [], name, tmp_path / "cache", legend)]
        expected = chips.labels()[:2].copy()
        expected[0, :9, :7] = 0
        assert np.array_equal(np.stack(found), legend.indices(expected))
    (_, alone), _ = labelled([some], [], [names[2]], tmp_path / "cache", legend)
    assert (alone[20:] == 255).all()


def test_some_chips_are_read_band_by_band_in_the_order_asked(chips: Chips, tmp_path: Path) -> None:
    some = Chips.open(chips.path, (7, 3))
    names = ["hls_l30:B05", "hls_l30:B02"]
    pieces = list(decoded(some, some.wanted(names), tmp_path))
    stored = chips.store.array("hls")
    for piece, number in zip(pieces, (7, 3), strict=True):
        assert np.array_equal(piece.arrays["hls"], np.asarray(stored[number])[[4, 1]])
    assert np.array_equal(some.labels()[1], np.asarray(chips.store.array("labels")[3]))
    (path,) = tmp_path.rglob("*.npy")
    assert np.load(path, mmap_mode="r").shape == (2, 2, *stored.shape[2:])


def test_selections_among_the_same_chips_share_what_is_decoded(
    chips: Chips, tmp_path: Path
) -> None:
    names, stored = ["hls_l30:B05", "hls_l30:B02"], chips.store.array("hls")
    for samples in ((7, 3), (2, 7), (7, 3, 2)):
        some = opened(Selection(path=chips.path, samples=samples, among=(7, 3, 2)))
        pieces = decoded(some, some.wanted(names), tmp_path)
        for piece, number in zip(pieces, samples, strict=True):
            assert piece.zone == str(number)
            assert np.array_equal(piece.arrays["hls"], np.asarray(stored[number])[[4, 1]])
    (path,) = tmp_path.rglob("*.npy")
    assert len(np.load(path, mmap_mode="r")) == 3
    with pytest.raises(InvalidInputError, match="samples \\[9999\\]"):
        Chips.open(chips.path, (1,), (9999,))


def test_statistics_are_those_of_the_chips_that_are_meant(chips: Chips, tmp_path: Path) -> None:
    some = opened(Selection(path=chips.path, samples=(0, 1)))
    (band,) = measured_inputs([some], 1, ["hls_l30:B04"], tmp_path, "linear")
    stored = np.asarray(chips.store.array("hls")[:2])[:, 3].astype(float)
    values = np.clip(stored[stored != 0], 1000, 11000)
    assert band.gsd == 30
    assert np.isclose(band.mean, values.mean())
    assert np.isclose(band.spread, values.std())


@pytest.mark.parametrize("reflectance", ["linear", "log"])
def test_what_enters_a_network_has_mean_0_and_spread_1(
    chips: Chips, tmp_path: Path, reflectance: ReflectanceScale
) -> None:
    some = opened(Selection(path=chips.path, samples=(0, 1)))
    bands = measured_inputs([some], 1, ["hls_l30"], tmp_path, reflectance)
    stored = torch.from_numpy(np.asarray(chips.store.array("hls")[:2]))
    found = Normalise(NetworkSpec(bands=bands, gsd=30))({"hls": stored})
    for band in range(len(bands)):
        scores = found.values[:, band][found.is_valid[:, band]].double()
        assert abs(float(scores.mean())) < 0.05  # but for scores beyond 5, which are clamped
        assert abs(float(scores.std()) - 1) < 0.1
    assert all((band.log_offset is None) == (reflectance == "linear") for band in bands)


def test_another_set_over_a_store_and_absent_chips_are_refused(
    chips: Chips, realdata: Path, dfc2020: Legend
) -> None:
    with pytest.raises(PlanConflictError):
        write_chips(sen12ms.chip_source(realdata / LAYOUT, dfc2020), chips.path)
    with pytest.raises(InvalidInputError, match=r"samples \[203\] of 203"):
        Chips.open(chips.path, (203,))
    with pytest.raises(InvalidInputError, match=r"--part 'train': .* has all"):
        selected(str(chips.path), "train")


def test_dfc2020_is_read_in_canonical_numbers(
    realdata: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    made = write_chips(sen12ms.chip_source(realdata / LAYOUT, dfc2020), tmp_path / "dfc.zarr")
    assert made.spec.count == 5
    assert [chip.part for chip in made.chips] == ["validation"] * 5
    group = xarray.open_zarr(str(made.path))
    folder = realdata / VALIDATION
    for number in (0, 4):
        name = f"ROIs0000_validation_{{}}_validation_p{number}.tif"
        with rasterio.open(folder / "s2_validation" / name.format("s2")) as file:
            assert np.allclose(group.s2_l1c[number].values, file.read() / 1e4, atol=1.1e-4)
        with rasterio.open(folder / "s1_validation" / name.format("s1")) as file:
            assert np.nanmax(np.abs(group.s1_grd[number].values - file.read())) <= 0.0051
        with rasterio.open(folder / "dfc_validation" / name.format("dfc")) as file:
            labels = file.read(1)
        assert np.array_equal(group.labels[number].values, np.where(labels == 3, 0, labels))


@pytest.fixture
def copy(realdata: Path, tmp_path: Path) -> Path:
    return shutil.copytree(realdata / LAYOUT, tmp_path / "copy", copy_function=shutil.copy)


def test_a_chip_without_its_partner_is_named(copy: Path, dfc2020: Legend) -> None:
    next(copy.rglob("*_s1_*_p3.tif")).unlink()
    with pytest.raises(InvalidInputError, match=r"p3\.tif has no s1 partner"):
        sen12ms.chip_source(copy, dfc2020)


def rewritten(path: Path, pixels: np.ndarray, compress: str = "deflate") -> None:
    with rasterio.open(path) as file:
        profile = file.profile | {"compress": compress}
    path.chmod(0o644)
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)


def test_labels_as_coarse_as_modis_are_not_the_contest_s(copy: Path, dfc2020: Legend) -> None:
    for path in copy.rglob("*_dfc_*.tif"):
        coarse = np.full((1, 224, 224), 1)
        coarse[:, :112] = 4
        rewritten(path, coarse)
    with pytest.raises(InvalidInputError, match=r"2\.0 regions .* as coarse as MODIS"):
        sen12ms.chip_source(copy, dfc2020)


def test_a_label_out_of_the_legend_is_named_with_its_file(
    copy: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    path = min(copy.rglob("*_dfc_*_p1.tif"))
    with rasterio.open(path) as file:
        pixels = file.read()
    pixels[0, 0, 0] = 17
    rewritten(path, pixels)
    with pytest.raises(InvalidInputError, match=r"p1\.tif holds the values \[17\]"):
        write_chips(sen12ms.chip_source(copy, dfc2020), tmp_path / "dfc.zarr")
    assert not (tmp_path / "dfc.zarr").exists()


def test_mended_labels_make_another_set(copy: Path, dfc2020: Legend, tmp_path: Path) -> None:
    path = min(copy.rglob("*_dfc_*_p1.tif"))
    with rasterio.open(path) as file:
        pixels = file.read()
    rewritten(path, pixels, compress="none")
    before = path.stat().st_size
    write_chips(sen12ms.chip_source(copy, dfc2020), tmp_path / "dfc.zarr")
    pixels[0, 0, 0] = 1 + pixels[0, 0, 0] % 2
    rewritten(path, pixels, compress="none")
    assert path.stat().st_size == before
    with pytest.raises(PlanConflictError, match="source is"):
        write_chips(sen12ms.chip_source(copy, dfc2020), tmp_path / "dfc.zarr")


def test_radar_that_is_not_finite_is_nodata_not_the_brightest_value(
    copy: Path, dfc2020: Legend, tmp_path: Path
) -> None:
    path = min(copy.rglob("*_s1_*_p0.tif"))
    with rasterio.open(path) as file:
        pixels = file.read()
    pixels[0, 3, 4], pixels[1, 5, 6] = np.nan, -np.inf
    rewritten(path, pixels)
    made = write_chips(sen12ms.chip_source(copy, dfc2020), tmp_path / "dfc.zarr")
    stored = np.asarray(made.store.array("s1_grd")[0])
    assert stored[0, 3, 4] == stored[1, 5, 6] == -32768
    assert (stored == -32768).sum() == 2 + (~np.isfinite(pixels)).sum() - 2


def test_a_folder_without_chips_is_told(tmp_path: Path, worldcover: Legend) -> None:
    with pytest.raises(InvalidInputError, match="give the folder that holds the ROIs folders"):
        sen12ms.chip_source(tmp_path, None)
    with pytest.raises(InvalidInputError, match="is no npz of HLS chips"):
        hls_worldcover.chip_source(tmp_path / "absent.npz", worldcover)


def test_half_a_part_of_the_contest_is_told(tmp_path: Path) -> None:
    for number in range(101):
        for kind in ("s1", "s2"):
            name = f"ROIs0000_validation_{kind}_validation_p{number}.tif"
            path = tmp_path / "ROIs0000_validation" / f"{kind}_validation" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    with pytest.raises(InvalidInputError, match="'validation' of DFC2020 has 101 chips, not 986"):
        sen12ms.chip_source(tmp_path, None)
