"""Zarr metadata of strangers: arrays that this package could not have written are not read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
