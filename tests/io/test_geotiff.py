import math
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.enums import Resampling

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block, Window
from sscl_geo.io.patience import Patience
from sscl_geo.io.readers.geotiff import MOST_OPEN, GeoTiffReader
from sscl_geo.io.signing import signer
from sscl_geo.io.warping import Content

CRS = "EPSG:32633"
LEFT, TOP = 500040.0, 5800020.0
HEIGHT, WIDTH = 90, 70
FLANDERS = "sentinel-2-l2a/S2_31UDS_00002806639B424A_20180918T105420"
reuse = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, array: np.ndarray, nodata: float | None = 0) -> str:
    with rasterio.open(
        path, "w", driver="GTiff", height=array.shape[0], width=array.shape[1], count=1,
        dtype=array.dtype, crs=CRS, transform=Affine(10, 0, LEFT, 0, -10, TOP), nodata=nodata,
        tiled=True, blockxsize=32, blockysize=32,
    ) as target:  # fmt: skip
        target.write(array, 1)
    return str(path)


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    random = np.random.default_rng(5)
    values = random.integers(1, 10000, (HEIGHT, WIDTH)).astype(np.uint16)
    values[random.random(values.shape) < 0.05] = 0
    return values


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> str:
    return write(tmp_path_factory.mktemp("geotiff") / "a.tif", array)


@pytest.fixture(scope="module")
def reader() -> Iterator[GeoTiffReader]:
    with GeoTiffReader(signer("none")) as opened:
        yield opened


def block_at(row: float, column: float, height: int, width: int, gsd: float = 10) -> Block:
    corner = Affine(gsd, 0, LEFT + 10 * column, 0, -gsd, TOP - 10 * row)
    return Block(CRS, corner, height, width)


@reuse
@given(
    st.tuples(st.integers(-40, 120), st.integers(-40, 120)),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
)
def test_a_block_of_the_files_own_pixels_is_read_untouched(
    reader: GeoTiffReader,
    file: str,
    array: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> None:
    (row, column), (height, width) = corner, size
    padded = np.pad(array, 300)
    expected = padded[300 + row : 300 + row + height, 300 + column : 300 + column + width]
    found = reader.read(file, block_at(row, column, height, width), 0, "continuous")
    assert found.dtype == array.dtype
    assert np.array_equal(found, expected)


def test_real_bands_are_read_as_rasterio_reads_them(reader: GeoTiffReader, realdata: Path) -> None:
    for name, gsd in (("B02", 10), ("B11", 20), ("SCL", 20)):
        path = realdata / "stac" / FLANDERS / f"{name}.tif"
        with rasterio.open(path) as dataset:
            side = 300 // gsd
            corner = Affine(gsd, 0, dataset.bounds.left + 100, 0, -gsd, dataset.bounds.top - 160)
            block = Block(str(dataset.crs), corner, side, side)
            window = rasterio.windows.Window(100 // gsd, 160 // gsd, side, side)
            expected = dataset.read(1, window=window)
        assert expected.any()
        assert np.array_equal(reader.read(str(path), block, 0, "continuous"), expected)


RESAMPLING = {
    ("continuous", 10): Resampling.bilinear,
    ("continuous", 5): Resampling.bilinear,
    ("continuous", 20): Resampling.average,
    ("continuous", 60): Resampling.average,
    ("classes", 10): Resampling.nearest,
    ("classes", 5): Resampling.nearest,
    ("classes", 20): Resampling.mode,
}


@pytest.mark.parametrize(("content", "gsd"), RESAMPLING)
@pytest.mark.parametrize("crs", [CRS, "EPSG:3035", "EPSG:32632"])
def test_other_pixels_are_those_of_warping_the_whole_file(
    reader: GeoTiffReader, file: str, array: np.ndarray, content: Content, gsd: int, crs: str
) -> None:
    x, y = rasterio.warp.transform(CRS, crs, [LEFT + 253.1], [TOP - 302.7])
    side = 400 // gsd
    block = Block(crs, Affine(gsd, 0, x[0], 0, -gsd, y[0]), side, side)
    expected = np.zeros((side, side), array.dtype)
    rasterio.warp.reproject(
        array, expected, src_transform=Affine(10, 0, LEFT, 0, -10, TOP), src_crs=CRS, src_nodata=0,
        dst_transform=block.transform, dst_crs=crs, dst_nodata=0, tolerance=0.0,
        resampling=RESAMPLING[content, gsd], XSCALE=10 / gsd, YSCALE=10 / gsd,
    )  # fmt: skip
    assert expected.any()
    assert is_close(reader.read(file, block, 0, content), expected)


def is_close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pixels differ by no more than the rounding to a whole number."""
    return bool(np.abs(one.astype(int) - other.astype(int)).max() <= 1)


WIDE = 320
kinds = st.sampled_from(
    [(content, gsd) for content in ("continuous", "classes") for gsd in (10, 20)]
)
windows = st.builds(
    lambda y, x, height, width: Window(y, x, min(height, WIDE - y), min(width, WIDE - x)),
    *[st.integers(0, WIDE - 1)] * 2,
    *[st.integers(1, WIDE)] * 2,
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that lie about a corner of four cells of each CRS below."""
    random = np.random.default_rng(6)
    values = random.integers(0, 9, (WIDE, WIDE))
    folder = tmp_path_factory.mktemp("wide")
    return {
        kind: write(folder / f"{kind}.tif", (values * factor).astype(kind))
        for kind, factor in (("uint16", 500), ("float32", 0.01))
    }


@reuse
@given(kinds, st.sampled_from(["EPSG:3035", "EPSG:32632", CRS]), st.booleans(), windows)
def test_a_pixel_has_the_same_bits_whatever_block_it_is_read_in(
    reader: GeoTiffReader,
    wide: dict[str, str],
    kind: tuple[Content, int],
    crs: str,
    is_float: bool,
    window: Window,
) -> None:
    (content, gsd), path = kind, wide["float32" if is_float else "uint16"]
    x, y = rasterio.warp.transform(CRS, crs, [LEFT], [TOP])
    # On the lattice where projections differ, off it in the file's own.
    off = 3.7 if crs == CRS else 0
    corner = Affine(gsd, 0, x[0] // 60 * 60 - off, 0, -gsd, y[0] // 60 * 60 + off)
    whole = reader.read(path, Block(crs, corner, WIDE, WIDE), 0, content)
    moved = corner @ Affine.translation(window.x, window.y)
    part = reader.read(path, Block(crs, moved, window.height, window.width), 0, content)
    assert whole.any()
    assert part.tobytes() == np.ascontiguousarray(whole[window.slices]).tobytes()


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:32632", "EPSG:6933", "EPSG:3413"])
def test_pixels_lie_where_proj_puts_them(tmp_path: Path, reader: GeoTiffReader, crs: str) -> None:
    """Every pixel of these files tells its own place, and so does every one interpolated."""
    column, row = np.meshgrid(np.arange(600) + 0.5, np.arange(600) + 0.5)
    files = [
        write(tmp_path / f"{name}.tif", place.astype(np.float32), nodata=-1)
        for name, place in (("column", column), ("row", row))
    ]
    x, y = rasterio.warp.transform(CRS, crs, [LEFT + 3000], [TOP - 3000])
    block = Block(
        crs, Affine(10, 0, x[0] // 10 * 10 - 1000, 0, -10, y[0] // 10 * 10 + 1000), 200, 200
    )
    found = [reader.read(path, block, -1, "continuous") for path in files]
    across, down = block.transform @ np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    there = Transformer.from_crs(crs, CRS, always_xy=True).transform(across, down)
    expected = ((there[0] - LEFT) / 10, (TOP - there[1]) / 10)
    for place, right in zip(found, expected, strict=True):
        assert (place >= 0).all()
        assert np.abs(place - right).max() < 0.02


def test_an_overview_is_the_whole_file_thinned(
    reader: GeoTiffReader, file: str, array: np.ndarray
) -> None:
    assert np.array_equal(reader.overview(file, 1000), array)
    assert np.array_equal(reader.overview(file, HEIGHT // 2), array[1::2, 1::2])


def test_a_block_off_the_file_has_no_data(reader: GeoTiffReader, file: str) -> None:
    far = block_at(100000.37, 0.21, 6, 5)
    assert not reader.read(file, far, 0, "continuous").any()
    assert not reader.read(file, block_at(100000, 0, 6, 5), 0, "continuous").any()


@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_nodata_may_be_nan(tmp_path: Path, shift: float) -> None:
    values = np.linspace(0.01, 1, 400, dtype=np.float32).reshape(20, 20)
    values[4:9, 6:15] = -1
    path = write(tmp_path / "power.tif", values, nodata=-1)
    with GeoTiffReader(signer("none")) as reader:
        found = reader.read(path, block_at(shift, shift, 20, 20), math.nan, "continuous")
    assert np.isnan(found[5:8, 7:14]).all()
    assert (found[10:18, 1:18] > 0).all()
    assert found[~np.isnan(found)].min() > 0


@pytest.mark.parametrize("missing", [-32768.0, math.nan, -1.0])
@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_the_nodata_of_a_file_becomes_the_nodata_asked_for(
    tmp_path: Path, missing: float, shift: float
) -> None:
    values = np.linspace(0.01, 1, 400, dtype=np.float32).reshape(20, 20)
    values[4:9, 6:15] = missing
    path = write(tmp_path / "power.tif", values, nodata=missing)
    with GeoTiffReader(signer("none")) as reader:
        found = reader.read(path, block_at(shift, shift, 20, 20), -32768, "continuous")
    assert (found[5:8, 7:14] == -32768).all()
    assert (found[10:18, 1:18] > 0).all()


def test_zeros_that_fill_holes_of_backscatter_do_not_bleed_into_their_neighbours(
    tmp_path: Path,
) -> None:
    values = np.full((20, 20), 0.2, np.float32)
    values[10, 10], values[4, 15] = 0, -0.001
    path = write(tmp_path / "power.tif", values, nodata=-32768)
    with GeoTiffReader(signer("none")) as reader:
        found = reader.read(path, block_at(0.37, 0.37, 20, 20), -32768, "power")
    assert np.allclose(found[found != -32768], 0.2, atol=1e-6)
    assert (found[1:18, 1:18] != -32768).sum() >= 17 * 17 - 2


def test_the_first_of_several_opens_does_not_hide_another_file(
    tmp_path: Path, array: np.ndarray, reader: GeoTiffReader, file: str
) -> None:
    other = write(tmp_path / "b.tif", array[::-1].copy())
    block = block_at(0, 0, HEIGHT, WIDTH)
    assert np.array_equal(reader.read(file, block, 0, "continuous"), array)
    assert np.array_equal(reader.read(other, block, 0, "continuous"), array[::-1])
    assert np.array_equal(reader.read(file, block, 0, "continuous"), array)


class Secret:
    """A signer whose signatures nobody asks for."""

    private_hosts = ()

    def __call__(self, href: str) -> str:
        return f"{href}?sig=secret&se=2030"

    def renew(self, href: str) -> None:
        pytest.fail(f"renewed {href}")


def test_files_beyond_the_most_are_closed_and_read_again(tmp_path: Path, array: np.ndarray) -> None:
    paths = [write(tmp_path / f"{i}.tif", array + np.uint16(i)) for i in range(MOST_OPEN + 3)]
    block = block_at(0, 0, 4, 4)
    before = psutil.Process().num_fds()
    with GeoTiffReader(signer("none")) as reader:
        for i, path in [*enumerate(paths), *enumerate(paths)]:
            found = reader.read(path, block, 0, "continuous")
            assert np.array_equal(found, array[:4, :4] + np.uint16(i))
        assert psutil.Process().num_fds() - before <= MOST_OPEN
    assert psutil.Process().num_fds() <= before


def test_sidecars_are_not_believed(tmp_path: Path, array: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", array)
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><GeoTransform>0,1,0,0,0,-1</GeoTransform></PAMDataset>"
    )
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    with GeoTiffReader(signer("none")) as reader:
        found = reader.read(path, block_at(0, 0, HEIGHT, WIDTH), 0, "continuous")
    assert np.array_equal(found, array)


def test_a_file_without_a_place_on_earth_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8"
        ) as target:
            target.write(np.ones((8, 8), np.uint8), 1)
        with (
            GeoTiffReader(signer("none")) as reader,
            pytest.raises(ReadError, match=r"nowhere\.tif .* no coordinate reference system"),
        ):
            reader.read(str(path), block_at(0, 0, 8, 8), 0, "continuous")


def test_a_file_whose_blocks_are_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=20000, width=20000, count=1, dtype="uint16", crs=CRS,
        transform=Affine(10, 0, LEFT, 0, -10, TOP), compress="deflate", sparse_ok=True,
        blockysize=20000,
    ):  # fmt: skip
        pass
    with (
        GeoTiffReader(signer("none")) as reader,
        pytest.raises(ReadError, match=r"bomb\.tif .* larger than 512 MiB; tile it"),
    ):
        reader.read(str(path), block_at(0, 0, 8, 8), 0, "continuous")


def test_an_absent_file_is_an_error_that_tells_no_signature(tmp_path: Path) -> None:
    path = tmp_path / "absent.tif"
    with (
        GeoTiffReader(Secret()) as reader,
        pytest.raises(ReadError, match=r"absent\.tif cannot be read: \S") as error,
    ):
        reader.read(str(path), block_at(0, 0, 2, 2), 0, "continuous")
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_does_not_answer_is_an_error_that_tells_no_signature() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        href = f"http://127.0.0.1:{probe.getsockname()[1]}/a.tif"
    with (
        GeoTiffReader(Secret(), Patience(attempts=2, first_pause=0.01)) as reader,
        pytest.raises(ReadError, match=f"{href} cannot be read: .*refused") as error,
    ):
        reader.read(href, block_at(0, 0, 2, 2), 0, "continuous")
    assert "secret" not in str(error.value)


def test_a_damaged_or_foreign_file_is_an_error(tmp_path: Path, file: str) -> None:
    cut, foreign = tmp_path / "cut.tif", tmp_path / "foreign.tif"
    content = Path(file).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    foreign.write_text('<VRTDataset rasterXSize="2" rasterYSize="2"></VRTDataset>')
    with GeoTiffReader(signer("none")) as reader:
        for path in (cut, foreign):
            with pytest.raises(ReadError, match=f"{path.name} cannot be read"):
                reader.read(str(path), block_at(0, 0, HEIGHT, WIDTH), 0, "continuous")
