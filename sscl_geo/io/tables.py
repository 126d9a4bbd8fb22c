"""Tables beside the arrays of a store, as GeoParquet and Parquet."""

import io
from collections.abc import Sequence

import geopandas
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, JsonValue

from sscl_geo.frozen import Frozen, canonical_json
from sscl_geo.geo.scene import Scene

SCENES = "scenes.parquet"
TILES = "tiles.parquet"


_SEARCH_KEY = b"sscl_geo:search"


class SearchRecord(Frozen):
    """Where and when a search was made; provenance, no part of what the scenes are.

    Attributes:
        catalog: Address of the catalogue.
        query: Digest of what was asked.
        asked: When it was asked.
    """

    catalog: str
    query: str
    asked: AwareDatetime


def scenes_table(scenes: Sequence[Scene], record: SearchRecord | None = None) -> bytes:
    """Return scenes as GeoParquet: footprints with id, collection, sensor, datetime and content.

    A record of the search is kept in the file's metadata.
    """
    frame = geopandas.GeoDataFrame(
        {
            "id": [scene.id for scene in scenes],
            "collection": [scene.collection for scene in scenes],
            "sensor": [scene.sensor for scene in scenes],
            "datetime": pd.to_datetime([scene.datetime for scene in scenes], utc=True),
            "scene": [canonical_json(scene.model_dump(mode="json")) for scene in scenes],
        },
        geometry=[scene.outline for scene in scenes],
        crs="EPSG:4326",
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue() if record is None else _recorded(buffer.getvalue(), record)


def _recorded(content: bytes, record: SearchRecord) -> bytes:
    table = pq.read_table(pa.BufferReader(content))
    told = {_SEARCH_KEY: canonical_json(record.model_dump(mode="json")).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **told}), sink)
    return bytes(sink.getvalue())


def read_record(content: bytes) -> SearchRecord | None:
    """Return the record of the search of a table made by `scenes_table`; None if it keeps none."""
    told = (pq.read_schema(pa.BufferReader(content)).metadata or {}).get(_SEARCH_KEY)
    return None if told is None else SearchRecord.model_validate_json(told)


def read_scenes(content: bytes) -> tuple[Scene, ...]:
    """Return the scenes of a table made by `scenes_table`."""
    column = pd.read_parquet(io.BytesIO(content), columns=["scene"])["scene"]
    return tuple(Scene.model_validate_json(text) for text in column)


def records_table(records: Sequence[dict[str, JsonValue]]) -> bytes:
    """Return plain records as Parquet; nested values are JSON text."""
    flat = [
        {
            key: canonical_json(value) if isinstance(value, dict | list) else value
            for key, value in record.items()
        }
        for record in records
    ]
    buffer = io.BytesIO()
    pd.DataFrame(flat).to_parquet(buffer, index=False)
    return buffer.getvalue()
