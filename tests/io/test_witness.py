"""Pixels as witnesses, on real GeoTIFFs in two conventions."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from sscl_geo.errors import CatalogError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.scene import Scene
from sscl_geo.io.offsets import Histogram, pixels_say
from sscl_geo.io.profile import OffsetRule, source
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import signer
from sscl_geo.io.witness import BANDS, LONGEST_PX, witnessed

SIDE = 1300
REFUSE = source("planetary-computer").profile.sensors["sentinel2_l2a"].offset_rule("sentinel-2-l2a")
PIXELS = source("earth-search").profile.sensors["sentinel2_l2a"].offset_rule("sentinel-2-l2a")


def granule(seed: int = 0) -> dict[str, np.ndarray]:
    """Return reflectance x 10000 of forest, water and a border without data."""
    random = np.random.default_rng(seed)
    dark = random.integers(5, 400, (len(BANDS), SIDE, SIDE))
    dark[:, :, : SIDE // 2] += 600
    return dict(zip(BANDS, dark, strict=True))


def write(folder: Path, reflectance: dict[str, np.ndarray], added: int, said: int) -> Scene:
    """Write a granule with `added` on each DN; its metadata say `said` (what to add)."""
    folder.mkdir()
    for band, values in reflectance.items():
        dn = (values + added).astype(np.uint16)
        dn[: SIDE // 10] = 0
        form = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint16"}
        with rasterio.open(
            folder / f"{band}.tif", "w", **form, nodata=0, tiled=True, crs="EPSG:32633",
            transform=Affine(10, 0, 0, 0, -10, 0),
        ) as file:  # fmt: skip
            file.write(dn, 1)
            file.build_overviews([2, 4], Resampling.nearest)
    return Scene(
        id="S2A", collection="sentinel-2-l2a", sensor="sentinel2_l2a",
        datetime=datetime(2024, 5, 1, tzinfo=UTC), bbox=BBox(9, 48, 10, 49),
        hrefs=tuple((band, str(folder / f"{band}.tif")) for band in reflectance),
        harmonise=said, witness="processing_baseline", confidence="low",
    )  # fmt: skip


def asked(scene: Scene, rule: OffsetRule) -> Scene:
    return witnessed(scene, rule, signer("none"))


def test_a_granule_in_two_conventions_becomes_the_same_canonical_numbers(tmp_path: Path) -> None:
    land = granule()
    new = asked(write(tmp_path / "new", land, added=1000, said=0), REFUSE)
    old = asked(write(tmp_path / "old", land, added=0, said=1000), REFUSE)
    assert (new.harmonise, old.harmonise) == (0, 1000)
    assert new.confidence == old.confidence == "high"
    assert new.witness == old.witness == "processing_baseline, pixels"
    for band in BANDS:
        with rasterio.open(new.href(band)) as one, rasterio.open(old.href(band)) as other:
            canonical = [
                np.where(dn > 0, dn + scene.harmonise, 0)
                for dn, scene in ((one.read(1), new), (other.read(1), old))
            ]
        assert np.array_equal(canonical[0], canonical[1])


@pytest.mark.parametrize(("added", "said"), [(0, 0), (1000, 1000)])
def test_metadata_that_lie_are_refused_or_outvoted(tmp_path: Path, added: int, said: int) -> None:
    scene = write(tmp_path / "lie", granule(), added, said)
    with pytest.raises(CatalogError, match=r"processing_baseline says .* but pixels say"):
        asked(scene, REFUSE)
    decided = asked(scene, PIXELS)
    assert decided.harmonise == 1000 - added
    assert decided.witness == "pixels against processing_baseline"


@pytest.mark.parametrize("said", [0, 1000])
def test_a_bright_granule_leaves_it_to_the_metadata(tmp_path: Path, said: int) -> None:
    clouds = {band: values + 6000 for band, values in granule().items()}
    scene = write(tmp_path / "clouds", clouds, 0, said)
    assert asked(scene, REFUSE) == scene


def test_a_granule_without_data_leaves_it_to_the_metadata(tmp_path: Path) -> None:
    nothing = {band: np.zeros_like(values) for band, values in granule().items()}
    scene = write(tmp_path / "nothing", nothing, 0, 0)
    assert asked(scene, REFUSE) == scene


def test_an_overview_is_small_and_made_of_the_file_s_numbers(tmp_path: Path) -> None:
    land = granule()
    scene = write(tmp_path / "land", land, 1000, 0)
    with GeoTiffReader(signer("none")) as reader:
        small = reader.overview(scene.href("B04"), LONGEST_PX)
        whole = reader.overview(scene.href("B04"), 5000)
    assert max(small.shape) == LONGEST_PX
    assert small.dtype == np.uint16
    assert set(np.unique(small)) <= {0, *np.unique(land["B04"] + 1000)}
    assert whole.shape == (SIDE, SIDE)


def test_real_land_never_tells_the_opposite_of_what_it_is(realdata: Path) -> None:
    """203 chips of 121 places, as they are and with +1000."""
    with np.load(realdata / "hls_worldcover.npz") as chips:
        names = [*chips["bands"]]
        bands = chips["reflectance"][:, [names.index(name) for name in ("blue", "red", "swir22")]]
    for added, opposite in ((0, "carried"), (1000, "absent")):
        told = [pixels_say([histogram(band + added) for band in chip]) for chip in bands]
        assert opposite not in told
        assert {"carried", "absent"} & {*told}


def histogram(dn: np.ndarray) -> Histogram:
    valid = dn[dn > 0].astype(np.int64)
    return Histogram(np.bincount(valid[valid < 2000], minlength=2000), valid.size)
