"""The directories of SEN12MS and of the 2020 IEEE GRSS Data Fusion Contest (DFC2020).

`ROIs<n>_<season>/<kind>_<part>/ROIs<n>_<season>_<kind>_<part>_p<n>.tif`, kind s1, s2 or dfc: VV and
VH of Sentinel-1 in dB; 13 bands of Sentinel-2 Level-1C, reflectance x 10000; and, of DFC2020, its
10 m labels. The coarse `lc` rasters of SEN12MS (MODIS) are never read: they are not those labels.

Schmitt et al. 2019, "SEN12MS"; Robinson et al. 2021, "Global land-cover mapping with weak
supervision: outcome of the 2020 IEEE GRSS data fusion contest".
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from jaxtyping import Float32, Int16, Shaped, UInt8, UInt16
from rasterio.errors import RasterioIOError
from scipy.ndimage import label

from sscl_geo.errors import InvalidInputError, brief
from sscl_geo.frozen import digest
from sscl_geo.geo.chips import Chip, ChipsSpec
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import ChipPixels, ChipSource
from sscl_geo.io.disk import sha256_of
from sscl_geo.sensors import sensor_of

OPTICAL = sensor_of("sentinel2_l1c")
RADAR = sensor_of("sentinel1_grd")
GSD = 10
RAISE = 1000
"""What makes canonical DN of reflectance x 10000."""

HIGHEST = 65535
LOWEST_DB, HIGHEST_DB = -327.67, 327.67
CONTEST = {"validation": 986, "0": 5128}
"""Chips of the two parts of the contest's bundle; swapped parts and half downloads are told."""

CONTEST_ROIS = "ROIs0000"
FEW = 100
"""Chips up to which a folder is taken for a sample of the contest, not for a part of it."""

COARSEST = 10
"""Mean number of connected regions of a labelled chip; the contest's have about 1200, and MODIS
labels, which some copies carry in their place, about 2."""

_NAME = re.compile(r"(?P<rois>ROIs\d+_[a-z]+)_s2_(?P<part>\w+)_p(?P<number>\d+)\.tif")


class _Directory(NamedTuple):
    spec: ChipsSpec
    chips: list[Chip]
    identity: str
    files: list[Path]

    def read(self, number: int) -> ChipPixels:
        """Return the pixels of a chip."""
        path, side = self.files[number], self.spec.side
        arrays: dict[str, Shaped[np.ndarray, "band y x"]] = {
            OPTICAL.array: _canonical(_bands(path, len(OPTICAL.bands), side)),
            RADAR.array: _centidecibel(_bands(_beside(path, "s1"), len(RADAR.bands), side)),
        }
        if self.spec.legend is None:
            return ChipPixels(arrays, None)
        return ChipPixels(arrays, _labels(_beside(path, "dfc"), side, self.spec.legend))


def chip_source(path: Path, legend: Legend | None) -> ChipSource:
    """Return the chips of a folder; with a legend those of DFC2020, with their labels.

    Raises:
        InvalidInputError: There is none, a file has no partner, a part is incomplete, or the labels
            are too coarse to be the contest's.
    """
    files = sorted(path.glob("ROIs*/s2_*/ROIs*_s2_*_p*.tif"), key=_order)
    if not files:
        raise InvalidInputError(
            f"{path}: no ROIs*/s2_*/*.tif; give the folder that holds the ROIs folders"
        )
    wanted = ("s1",) if legend is None else ("s1", "dfc")
    for kind in wanted:
        lonely = [file for file in files if not _beside(file, kind).is_file()]
        if lonely:
            raise InvalidInputError(f"{lonely[0]} has no {kind} partner {_beside(lonely[0], kind)}")
    chips = [_chip(file) for file in files]
    _check_counts(chips)
    with rasterio.open(files[0]) as dataset:
        side = int(dataset.width)
    spec = ChipsSpec(sensors=(OPTICAL, RADAR), count=len(files), side=side, gsd=GSD, legend=legend)
    if legend is not None:
        _check_labels(files, side, legend)
    content: list[list[object]] = [
        [str(file.relative_to(path)), *(_beside(file, k).stat().st_size for k in ("s2", *wanted))]
        for file in files
    ]
    # Labels may be mended without a change of size.
    content += [] if legend is None else [[sha256_of(*(_beside(file, "dfc") for file in files))]]
    return _Directory(spec, chips, digest(content), files)


def _order(path: Path) -> tuple[str, int]:
    return str(path.parent), int(_parts(path)["number"])


def _parts(path: Path) -> dict[str, str]:
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise InvalidInputError(f"{path}: no name such as ROIs0000_validation_s2_validation_p0.tif")
    return found.groupdict()


def _chip(path: Path) -> Chip:
    parts = _parts(path)
    place = f"{parts['rois']}/{parts['part']}"
    return Chip(id=path.stem, place=place, part=parts["part"])


def _check_counts(chips: Sequence[Chip]) -> None:
    """Check that parts of what looks like the contest's bundle are whole."""
    mine = [chip for chip in chips if chip.id.startswith(CONTEST_ROIS)]
    for part, whole in CONTEST.items():
        count = sum(chip.part == part for chip in mine)
        if 0 < count != whole and len(mine) > FEW:
            raise InvalidInputError(
                f"part {part!r} of DFC2020 has {count} chips, not {whole}; get all of it"
            )


def _beside(path: Path, kind: str) -> Path:
    folder = path.parent.name.replace("s2_", f"{kind}_", 1)
    return path.parent.parent / folder / path.name.replace("_s2_", f"_{kind}_", 1)


def _bands(path: Path, count: int, side: int) -> Float32[np.ndarray, "band y x"]:
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            pixels: np.ndarray = dataset.read().astype(np.float32)
    except RasterioIOError as error:
        raise InvalidInputError(f"{path} cannot be read: {brief(error)}") from None
    if pixels.shape != (count, side, side):
        raise InvalidInputError(f"{path}: shape {pixels.shape} must be {(count, side, side)}")
    return pixels


def _canonical(dn: Float32[np.ndarray, "band y x"]) -> UInt16[np.ndarray, "band y x"]:
    raised = np.clip(np.nan_to_num(dn, nan=-RAISE) + RAISE, 0, HIGHEST)
    # A reflectance of 0 is one: only what no sensor measured is nodata.
    return np.asarray(np.where(np.isnan(dn), 0, np.maximum(raised, 1)).astype(np.uint16))


def _centidecibel(decibel: Float32[np.ndarray, "band y x"]) -> Int16[np.ndarray, "band y x"]:
    is_known = np.isfinite(decibel)
    stored = np.rint(100 * np.clip(np.where(is_known, decibel, 0), LOWEST_DB, HIGHEST_DB))
    return np.asarray(np.where(is_known, stored, RADAR.nodata).astype(np.int16))


def _labels(path: Path, side: int, legend: Legend) -> UInt8[np.ndarray, "y x"]:
    values = _bands(path, 1, side)[0]
    return legend.recode(values.astype(np.int32), str(path))


def _check_labels(files: Sequence[Path], side: int, legend: Legend) -> None:
    chosen = files[:: max(len(files) // 20, 1)]
    regions = [_regions(_labels(_beside(file, "dfc"), side, legend)) for file in chosen]
    if np.mean(regions) < COARSEST:
        raise InvalidInputError(
            f"{_beside(files[0], 'dfc').parent}: labelled chips have {np.mean(regions):.1f} "
            "regions on average, as coarse as MODIS; these are not the contest's labels"
        )


def _regions(labels: UInt8[np.ndarray, "y x"]) -> int:
    return sum(int(label(labels == value)[1]) for value in np.unique(labels) if value)
