"""Damaged input of every kind: read as it is, or an error of ours in one line; nothing else.

`--inputs` says how many inputs each reader gets.
"""

import faulthandler
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from affine import Affine

from benchmarks.peak import peak_bytes, reset_peak
from sscl_geo import plugins
from sscl_geo.errors import SsclGeoError
from sscl_geo.experiment.matrix import Experiment
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.grid import Block, Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import CARD, WEIGHTS, Bundle, read_card, read_weights, write_bundle
from sscl_geo.io.catalog import to_scene
from sscl_geo.io.cubes import Classes
from sscl_geo.io.journal import journal
from sscl_geo.io.labels import label_source
from sscl_geo.io.maps import CONFIDENCE, layer_path
from sscl_geo.io.profile import Profile, source
from sscl_geo.io.readers.geotiff import GeoTiffReader
from sscl_geo.io.region import read_region
from sscl_geo.io.signing import signer
from sscl_geo.learn.study import Study
from sscl_geo.plugins import shipped
from sscl_geo.runtime.ledger import Ledger
from tests.drawn_maps import draw_map, drawn
from tests.fuzz.damage import damaged_bytes, damaged_document, damaged_text

pytestmark = pytest.mark.filterwarnings("ignore")

LONGEST = 20
"""Seconds after which a read counts as hung; a slow one is counted, and told by the tally."""

MOST_MB = 600
"""How much the process may grow while it reads damaged input."""

TRANSFORM = Affine(10, 0, 500_040, 0, -10, 5_400_000)
WINDOW = Window(0, 0, 510, 510)
BLOCK = Block("EPSG:32633", TRANSFORM, 64, 64)


@pytest.fixture
def inputs(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--inputs"))


def withstands(
    read: Callable[[np.random.Generator], object], inputs: int, tally: Counter[str]
) -> None:
    """Read many damaged inputs."""
    reset_peak()
    before = peak_bytes()
    refused = 0
    for number in range(inputs):
        started = time.monotonic()
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        is_one_line = True
        try:
            read(np.random.default_rng(number))
        except SsclGeoError as error:
            refused += 1
            is_one_line = len(str(error).strip().splitlines()) == 1
        except Exception as error:
            raise AssertionError(f"input {number}: {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        assert is_one_line, f"input {number}"
        tally["slow inputs"] += time.monotonic() - started > 1
    grown = peak_bytes() - before
    tally["damaged inputs"] += inputs
    tally["refused inputs"] += refused
    assert grown < MOST_MB * 2**20
    assert refused > 0.1 * inputs


def test_stac_items(realdata: Path, inputs: int, tally: Counter[str]) -> None:
    path = realdata / "stac_items" / "pc__sentinel-2-l2a.json"
    features = json.loads(path.read_text())["features"]
    catalogue = source("planetary-computer")
    sensor = plugins.find("sscl_geo.sensors", "sentinel2_l2a").SENSOR
    place = catalogue.profile.sensors[sensor.name]

    def read(rng: np.random.Generator) -> object:
        item = damaged_document(features[rng.integers(len(features))], rng)
        return to_scene(item, sensor, place, catalogue) if isinstance(item, dict) else None

    withstands(read, inputs, tally)


@pytest.mark.parametrize("compress", ["deflate", "lzw", None])
def test_geotiffs(tmp_path: Path, inputs: int, tally: Counter[str], compress: str | None) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": 200, "height": 150, "count": 1, "dtype": "uint16"}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": compress}
    with rasterio.open(
        path, "w", crs="EPSG:32633", transform=TRANSFORM, nodata=0, **profile, **tiles
    ) as file:
        file.write(rng.integers(1, 5000, (1, 150, 200)).astype(np.uint16))
    content = path.read_bytes()

    def read(rng: np.random.Generator) -> object:
        path.write_bytes(damaged_bytes(content, rng, head=int(rng.choice([400, len(content)]))))
        with GeoTiffReader(signer("none")) as reader:
            return reader.read(str(path), BLOCK, 0, "continuous")

    withstands(read, inputs, tally)


def test_maps(tmp_path: Path, inputs: int, tally: Counter[str]) -> None:
    made = tmp_path / "map.zarr"
    grid = Grid(crs="EPSG:32633", origin=(500_040, 5_800_020), shape=(510, 510), tile_px=256)
    classes = np.random.default_rng(0).choice([0, 10, 40, 80], (510, 510)).astype(np.uint8)
    draw_map(made, [grid], drawn(classes))
    files = sorted(path for path in made.rglob("*") if path.is_file())
    metadata = [path for path in files if path.suffix == ".json"]

    def read(rng: np.random.Generator) -> object:
        among = metadata if rng.integers(3) else files
        victim = among[rng.integers(len(among))]
        content = victim.read_bytes()
        is_json = victim.suffix == ".json"
        harmed = damaged_text(json.loads(content), rng) if is_json else damaged_bytes(content, rng)
        victim.write_bytes(harmed)
        try:
            found = Classes.open(made, "map")
            for one in found.grids:
                found.read(one.zone, WINDOW)
                found.store.read(layer_path(one.zone, CONFIDENCE), (), WINDOW)
        finally:
            victim.write_bytes(content)
        return None

    withstands(read, inputs, tally)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {f"layer.{n}": rng.normal(size=(4, 3)).astype(np.float32) for n in range(6)}
    legend = read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")
    card = Bundle(kind="model", network={"bands": ["B02"]}, legend=legend)
    write_bundle(tmp_path / "model", card, weights)
    return tmp_path / "model"


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_bundles(bundle: Path, inputs: int, tally: Counter[str], name: str) -> None:
    content = (bundle / name).read_bytes()

    def read(rng: np.random.Generator) -> object:
        is_card = name == CARD
        harmed = damaged_text(json.loads(content), rng) if is_card else damaged_bytes(content, rng)
        (bundle / name).write_bytes(harmed)
        return read_weights(bundle, read_card(bundle))

    withstands(read, inputs, tally)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_vector_files(tmp_path: Path, inputs: int, tally: Counter[str], suffix: str) -> None:
    path = tmp_path / f"polygons{suffix}"
    boxes = [shapely.box(15 + n / 100, 48.7, 15.005 + n / 100, 48.705) for n in range(20)]
    frame = geopandas.GeoDataFrame({"class": range(20)}, geometry=boxes, crs="EPSG:4326")
    frame.to_file(path)
    content = path.read_bytes()

    def read(rng: np.random.Generator) -> object:
        path.write_bytes(damaged_bytes(content, rng))
        label_source(path, "class").on(BLOCK)
        return read_region(path)

    withstands(read, inputs, tally)


SHIPPED = [
    ("catalogs/planetary-computer.yaml", Profile),
    ("catalogs/legends/dfc2020.yaml", Legend),
    ("workflows/studies/letter.yaml", Study),
    ("workflows/experiments/smoke.yaml", Experiment),
]


@pytest.mark.parametrize(("name", "kind"), SHIPPED)
def test_settings(
    tmp_path: Path, inputs: int, tally: Counter[str], name: str, kind: type[Any]
) -> None:
    folder, _, file = name.partition("/")
    text = (shipped(folder) / file).read_text()
    document = yaml.safe_load(text)
    path = tmp_path / "settings.yaml"

    def read(rng: np.random.Generator) -> object:
        if rng.integers(2):
            path.write_bytes(damaged_bytes(text.encode(), rng))
        else:
            path.write_text(yaml.safe_dump(damaged_document(document, rng)), errors="replace")
        return read_yaml(kind, path)

    withstands(read, inputs, tally)


def test_ledgers(tmp_path: Path, inputs: int, tally: Counter[str]) -> None:
    outcome = {
        "key": "epsg32633/0/0", "status": "done", "cause": "", "run": None,
        "evidence": {"checksums": {"a": "b"}, "scenes": ["x", "y"]},
    }  # fmt: skip

    def read(rng: np.random.Generator) -> object:
        store = tmp_path / "store"
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        whole_line = json.dumps(outcome).encode()
        lines = [whole_line, damaged_text(outcome, rng).replace(b"\n", b" "), whole_line]
        (store / "ledger.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        return Ledger(journal(store)).finished

    withstands(read, inputs, tally)
