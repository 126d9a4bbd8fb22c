"""Tables beside the arrays of a store, as GeoParquet and Parquet."""

import io
from collections.abc import Sequence

import geopandas
import pandas as pd
from pydantic import JsonValue
from shapely.geometry import MultiPolygon, box
from shapely.geometry.base import BaseGeometry

from sscl_geo.frozen import canonical_json
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.scene import Scene

SCENES = "scenes.parquet"
TILES = "tiles.parquet"


def scenes_table(scenes: Sequence[Scene]) -> bytes:
    """Return scenes as GeoParquet: footprints with id, collection, sensor, datetime and content."""
    frame = geopandas.GeoDataFrame(
        {
            "id": [scene.id for scene in scenes],
            "collection": [scene.collection for scene in scenes],
            "sensor": [scene.sensor for scene in scenes],
            "datetime": pd.to_datetime([scene.datetime for scene in scenes], utc=True),
            "scene": [canonical_json(scene.model_dump(mode="json")) for scene in scenes],
        },
        geometry=[_footprint(scene.bbox) for scene in scenes],
        crs="EPSG:4326",
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


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


def _footprint(bbox: BBox) -> BaseGeometry:
    parts = [box(*part) for part in bbox.split()]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
