"""Reading through a proxy that does what networks and servers do."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import requests
from affine import Affine

from sscl_geo.demo.serve import served_files
from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block
from sscl_geo.io.patience import Patience
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.signing import signer
from tests.faults.proxy import FAULTS, Faulty, Plan, faulty

CRS = "EPSG:32633"
LEFT, TOP, SIDE = 500000, 5800000, 640
HASTY = Patience(attempts=6, seconds=20, first_pause=0.01, silence=5)
FILES = ("a.tif", "b.tif", "c.tif")


def write(path: Path, seed: int, compress: str = "deflate", top: int = TOP) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 3000, (SIDE, SIDE)).astype(np.uint16)
    with rasterio.open(
        path, "w", driver="GTiff", height=SIDE, width=SIDE, count=1, dtype="uint16", crs=CRS,
        transform=Affine(10, 0, LEFT, 0, -10, top), nodata=0, tiled=True, blockxsize=128,
        blockysize=128, compress=compress,
    ) as target:  # fmt: skip
        target.write(pixels, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    for seed, name in enumerate(FILES):
        write(folder / name, seed)
    (folder / "page.tif").write_text("<html>" + "Service is resting. " * 99)
    return folder


@pytest.fixture(scope="module")
def proxy(folder: Path) -> Iterator[Faulty]:
    with served_files(folder) as url, faulty(url, Plan()) as running:
        yield running


def block(row: int = 0, column: int = 0, side: int = SIDE, crs: str = CRS) -> Block:
    return Block(crs, Affine(10, 0, LEFT + 10 * column, 0, -10, TOP - 10 * row), side, side)


def read(href: str, where: Block, patience: Patience = HASTY) -> np.ndarray:
    with GeoTiffReader(signer("none"), patience) as reader:
        return reader.read(href, where, 0, "continuous")


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(1))


@pytest.mark.parametrize("harmed", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_of_the_header_or_the_pixels_leaves_no_trace(
    proxy: Faulty, folder: Path, fault: str, harmed: int
) -> None:
    proxy.become(Plan(1, (fault,), among=(harmed, harmed + 1), slow_seconds=0.05))
    found = read(f"{proxy.url}/a.tif", block())
    assert np.array_equal(found, pixels(folder / "a.tif"))
    assert proxy.counts()[fault] == 1


def test_over_plain_http_the_header_is_asked_for_twice_and_neighbouring_tiles_once(
    proxy: Faulty,
) -> None:
    proxy.become(Plan(0))
    read(f"{proxy.url}/a.tif", block())
    assert proxy.counts() == {"requests": 3}


@pytest.mark.parametrize(
    ("fault", "is_permanent", "attempts"),
    [
        ("404", True, 1),
        ("410", True, 1),
        ("redirect", True, 1),
        ("403", True, 2),
        ("corrupt-tile", True, 2),
        ("shifted", True, 2),
        ("503", False, 6),
        ("reset", False, 6),
        ("truncated", False, 6),
        ("other-range", False, 6),
        ("whole-file", False, 6),
    ],
)
def test_a_lasting_fault_is_an_error_of_its_kind(
    proxy: Faulty, fault: str, is_permanent: bool, attempts: int
) -> None:
    proxy.become(Plan(1, (fault,)))
    with pytest.raises(ReadError, match=rf"\(attempts: {attempts}\)$") as error:
        read(f"{proxy.url}/a.tif?token=secret", block())
    assert error.value.is_permanent == is_permanent
    assert str(error.value).startswith(f"{proxy.url}/a.tif cannot be read: ")
    assert "token" not in str(error.value)


def test_what_is_no_tiff_is_asked_for_twice(proxy: Faulty) -> None:
    proxy.become(Plan(0))
    with pytest.raises(ReadError, match=r"not recognized .*\(attempts: 2\)$") as error:
        read(f"{proxy.url}/page.tif", block())
    assert error.value.is_permanent
    assert proxy.counts() == {"requests": 2}


@pytest.mark.parametrize("fault", ["429-retry-after", "429-retry-date"])
def test_the_wait_that_a_server_asks_for_is_kept(proxy: Faulty, fault: str) -> None:
    proxy.become(Plan(1, (fault,), among=(1, 2)))
    start = time.monotonic()
    read(f"{proxy.url}/a.tif", block())
    assert time.monotonic() - start >= 1


def test_a_wait_beyond_the_patience_is_not_begun(proxy: Faulty) -> None:
    proxy.become(Plan(1, ("429-retry-after",)))
    start = time.monotonic()
    with pytest.raises(ReadError, match=r"HTTP 429 .*\(attempts: 1\)$") as error:
        read(f"{proxy.url}/a.tif", block(), Patience(seconds=0.9))
    assert time.monotonic() - start < 0.9
    assert not error.value.is_permanent


@pytest.mark.parametrize("patience", [{"silence": 0.2}, {"slowest": 1e9, "silence": 0.4}])
def test_a_body_that_is_too_slow_is_given_up(proxy: Faulty, patience: dict[str, float]) -> None:
    proxy.become(Plan(1, ("slow",), slow_seconds=patience["silence"] * 1.5))
    with pytest.raises(ReadError, match=r"no answer in time") as error:
        read(f"{proxy.url}/a.tif", block(), Patience(attempts=1, **patience))
    assert not error.value.is_permanent


class Tokens:
    """Signs with a token that has long expired until it is renewed."""

    private_hosts = ()

    def __init__(self) -> None:
        self.born = time.time() - 1000
        self.renewals = 0

    def __call__(self, href: str) -> str:
        return f"{href}?token={self.born}"

    def renew(self, href: str) -> None:
        assert "token" not in href
        self.born = time.time()
        self.renewals += 1


def test_an_expired_signature_is_renewed(proxy: Faulty, folder: Path) -> None:
    proxy.become(Plan(0, token_seconds=60))
    tokens = Tokens()
    with GeoTiffReader(tokens, HASTY) as reader:
        found = reader.read(f"{proxy.url}/a.tif", block(), 0, "continuous")
        tokens.born = time.time() - 1000
        again = reader.read(f"{proxy.url}/a.tif", block(side=300), 0, "continuous")
    assert tokens.renewals == 2
    assert np.array_equal(found, pixels(folder / "a.tif"))
    assert np.array_equal(again, found[:300, :300])


def test_a_file_that_is_replaced_meanwhile_is_never_mixed_with_the_old_one(
    proxy: Faulty, folder: Path
) -> None:
    proxy.become(Plan(0))
    path = folder / "replaced.tif"
    write(path, 7, "none")
    with GeoTiffReader(signer("none"), HASTY) as reader:
        reader.read(f"{proxy.url}/{path.name}", block(0, 0, 100), 0, "continuous")
        write(path, 8, "none", TOP + 100)
        found = reader.read(f"{proxy.url}/{path.name}", block(-10), 0, "continuous")
    assert np.array_equal(found, pixels(path))


@pytest.mark.parametrize("compress", ["deflate", "none", "lzw"])
@pytest.mark.parametrize("fault", ["corrupt-tile", "shifted"])
def test_bytes_that_lie_within_honest_headers_are_found_out(
    proxy: Faulty, folder: Path, compress: str, fault: str
) -> None:
    path = folder / f"{compress}.tif"
    write(path, 9, compress)
    proxy.become(Plan(1, (fault,), among=(2, 3)))
    assert np.array_equal(read(f"{proxy.url}/{path.name}", block()), pixels(path))
    assert proxy.counts()[fault] == 1


@pytest.mark.parametrize("at", np.linspace(0.01, 0.99, 40))
def test_a_flipped_bit_in_a_deflated_tile_is_never_a_pixel(
    proxy: Faulty, folder: Path, at: float
) -> None:
    """GDAL alone lets about one in ten of them pass."""
    proxy.become(Plan(0))
    content = bytearray((folder / "a.tif").read_bytes())
    content[2000 + int(at * (len(content) - 2000))] ^= 4
    (folder / "flipped.tif").write_bytes(content)
    with pytest.raises(ReadError, match=r"\(attempts: 2\)$"):
        read(f"{proxy.url}/flipped.tif", block())


def test_readers_in_many_threads_do_not_disturb_each_other(proxy: Faulty, folder: Path) -> None:
    proxy.become(Plan(0.1, slow_seconds=0.02, faults=("503", "reset", "corrupt-tile", "slow")))
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda i: read(f"{proxy.url}/{FILES[i % 3]}", block()), range(18)))
    for i, array in enumerate(found):
        assert np.array_equal(array, pixels(folder / FILES[i % 3]))


@pytest.mark.parametrize("fault", ["corrupt-tile", "503"])
def test_overviews_are_checked_as_well(proxy: Faulty, folder: Path, fault: str) -> None:
    path = folder / "overviews.tif"
    write(path, 3)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    proxy.become(Plan(1, (fault,), among=(2, 3)))
    with GeoTiffReader(signer("none"), HASTY) as reader:
        found = reader.overview(f"{proxy.url}/{path.name}", SIDE // 4)
        assert np.array_equal(found, reader.overview(str(path), SIDE // 4))
    assert found.shape == (SIDE // 4, SIDE // 4)
    assert proxy.counts()[fault] == 1


def test_the_proxy_puts_itself_into_addresses_in_json(folder: Path) -> None:
    with served_files(folder) as url, faulty(url, Plan(0, rewrite=(("http://x", "y"),))) as proxy:
        (folder / "item.json").write_text(f'["{url}/a.tif", "http://x/b.tif"]')
        answer = requests.get(f"{proxy.url}/item.json", timeout=5).json()
    assert answer == [f"{proxy.url}/a.tif", "y/b.tif"]


@pytest.mark.parametrize("seed", range(3))
def test_under_many_faults_pixels_are_right_or_missing(
    proxy: Faulty, folder: Path, seed: int
) -> None:
    random = np.random.default_rng(seed)
    proxy.become(Plan(0.2, seed=seed, slow_seconds=0.02))
    failures = 0
    with (
        GeoTiffReader(signer("none"), HASTY) as reader,
        GeoTiffReader(signer("none")) as honest,
    ):
        for _ in range(40):
            name, crs = random.choice(FILES), random.choice([CRS, "EPSG:32632"])
            row, column, side = (int(n) for n in random.integers((-50, -50, 20), (600, 600, 400)))
            where = block(row, column, side, str(crs))
            expected = honest.read(str(folder / name), where, 0, "continuous")
            try:
                found = reader.read(f"{proxy.url}/{name}", where, 0, "continuous")
            except ReadError:
                failures += 1
            else:
                assert np.array_equal(found, expected)
    counts = proxy.counts()
    assert failures <= 1
    assert sum(counts[fault] for fault in FAULTS) >= 5
