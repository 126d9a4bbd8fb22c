"""Zarr metadata of strangers: arrays that this package could not have written are not read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.io.maps import layer_path
from sscl_geo.io.store import Store
from tests.drawn_maps import draw_map, drawn

GRID = Grid(crs="EPSG:32633", origin=(500_040, 5_800_020), shape=(252, 252), tile_px=256)
ARRAY = layer_path("epsg32633", "landcover")
Raw = dict[str, Any]


def huge_chunks(document: Raw) -> None:
    document["chunk_grid"]["configuration"]["chunk_shape"] = [2**20, 2**20]


def other_codec(document: Raw) -> None:
    document["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]


def foreign_codec(document: Raw) -> None:
    document["codecs"].append({"name": "gzip", "configuration": {"level": 1}})


def codec_in_a_shard(document: Raw) -> None:
    inner = {"chunk_shape": [256, 256], "codecs": [{"name": "bytes"}, {"name": "gzip"}]}
    inner["index_codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    document["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]


def long_text(document: Raw) -> None:
    document["data_type"] = {
        "name": "fixed_length_utf32", "configuration": {"length_bytes": 4_000_000},
    }  # fmt: skip
    document["fill_value"] = ""


def raw_bytes(document: Raw) -> None:
    document["data_type"], document["fill_value"] = "r8000000", []


def test_an_array_of_another_format_is_not_read(tmp_path: Path) -> None:
    out = draw_map(tmp_path / "map.zarr", [GRID], drawn(np.full((252, 252), 10, np.uint8)))
    shutil.rmtree(out / ARRAY)
    old = zarr.create_array(out / ARRAY, shape=(252, 252), dtype="uint8", zarr_format=2)
    old[...] = 10
    with pytest.raises(InvalidInputError, match="landcover: its Zarr metadata"):
        Store.open(out, "map").read(ARRAY, (), Window(0, 0, 9, 9))


def test_a_store_that_lost_its_root_is_told(tmp_path: Path) -> None:
    out = draw_map(tmp_path / "map.zarr", [GRID], drawn(np.full((252, 252), 10, np.uint8)))
    (out / "zarr.json").unlink()
    with pytest.raises(InvalidInputError, match="its Zarr metadata cannot be read"):
        Store.open(out, "map")


@pytest.mark.parametrize(
    "attack", [huge_chunks, other_codec, foreign_codec, codec_in_a_shard, long_text, raw_bytes]
)
@pytest.mark.filterwarnings("ignore")
def test_an_array_that_is_none_of_ours_is_not_read(
    attack: Callable[[Raw], None], tmp_path: Path
) -> None:
    out = draw_map(tmp_path / "map.zarr", [GRID], drawn(np.full((252, 252), 10, np.uint8)))
    assert Store.open(out, "map").read(ARRAY, (), Window(0, 0, 9, 9)).all()
    path = out / ARRAY / "zarr.json"
    document = json.loads(path.read_text())
    attack(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match=r"landcover: its Zarr metadata") as error:
        Store.open(out, "map").read(ARRAY, (), Window(0, 0, 9, 9))
    assert "\n" not in str(error.value)
