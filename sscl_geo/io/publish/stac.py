"""A published map as a static STAC 1.1 catalogue: a collection, and an item for each place."""

import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pystac
import rustac
import shapely
from pydantic import Field, JsonValue
from pystac import Asset, Collection, Extent, Item, Link, SpatialExtent, TemporalExtent
from pystac.layout import TemplateLayoutStrategy

from sscl_geo import __version__
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox, hull
from sscl_geo.geo.grid import Block
from sscl_geo.geo.inputs import LARGEST_SCORE, BandInput
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.geo.period import Period
from sscl_geo.io.bundle import WEIGHTS, Bundle
from sscl_geo.io.disk import write_whole
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.maps import CONFIDENCE, LANDCOVER

COLLECTION, ITEMS = "collection.json", "items"
MODEL, MODEL_ITEM = "model", "item.json"
ITEMS_TABLE = "items.parquet"

_SCHEMA = "https://stac-extensions.github.io/{}/schema.json"
_PROJECTION, _RASTER, _CLASSIFICATION, _PROCESSING, _FILE, _MLM = (
    _SCHEMA.format(name)
    for name in (
        "projection/v2.0.0",
        "raster/v2.0.0",
        "classification/v2.0.0",
        "processing/v1.2.0",
        "file/v2.1.0",
        "mlm/v1.4.0",
    )
)
_TASK = "semantic-segmentation"
_GEOJSON = "application/geo+json"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_ZARR = "application/vnd.zarr; version=3"
_SHA256 = "1220"
"""What a SHA-256 digest begins with as a multihash: its code, and its length in bytes."""


class Told(Frozen):
    """What a whole map says of itself.

    Attributes:
        id: Identifier of the collection.
        title: Its title.
        legend: The legend.
        interval: Days of the imagery, without the last.
        sensors: Names of the sensors.
        model: What the model was; empty for a map without one.
        maps: What made the maps of which it is the mean; none for a map that is no mean.
        license: SPDX identifier, or `other`.
    """

    id: str
    title: str
    legend: Legend
    interval: Period
    sensors: tuple[str, ...]
    model: dict[str, JsonValue] = Field(default_factory=dict)
    maps: tuple[JsonValue, ...] = ()
    license: str = "other"


class Published(NamedTuple):
    """A file of a layer: its path in the product, its size in bytes, and its SHA-256."""

    layer: str
    path: str
    size: int
    sha256: str


class Place(NamedTuple):
    """One item: its name, its ground, its files, pixels by class, and where it comes from."""

    name: str
    block: Block
    bbox: BBox
    files: tuple[Published, ...]
    pixels: Mapping[int, int]
    sources: tuple[str, ...]


def write_catalogue(
    folder: Path, told: Told, places: Sequence[Place], map_href: str, bundle: Bundle | None = None
) -> None:
    """Write `collection.json`, an item for each place, and all items as GeoParquet.

    Args:
        folder: The product's folder.
        told: What the map says of itself.
        places: Places with data, at least one.
        map_href: Where the Zarr map is; relative to the folder if it is on the same disk.
        bundle: What the model's bundle in the folder `model` says of itself; None if there is none.
    """
    collection = _collection(told, places, map_href)
    collection.set_self_href(str(folder / COLLECTION))
    for place in places:
        item = _item(told, place)
        if bundle is not None:
            item.add_link(Link("derived_from", f"../{MODEL}/{MODEL_ITEM}", media_type=_GEOJSON))
        collection.add_item(item, strategy=TemplateLayoutStrategy(item_template=ITEMS))
    items = list(collection.get_items())
    # Paths of files are relative to the item that names them.
    for item, place in zip(items, places, strict=True):
        for file in place.files:
            item.assets[file.layer].href = os.path.relpath(file.path, ITEMS)
    table = [_row(item, place) for item, place in zip(items, places, strict=True)]
    collection.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
    rustac.write_sync(str(folder / ITEMS_TABLE), table)
    if bundle is not None:
        box = hull([place.bbox for place in places])
        text = json.dumps(_model_item(told, bundle, box), indent=2) + "\n"
        write_whole(folder / MODEL / MODEL_ITEM, text.encode())


def _row(item: Item, place: Place) -> dict[str, Any]:
    """Return an item as the table at the product's root has it: alone, with its files' paths."""
    row = item.to_dict(include_self_link=False, transform_hrefs=False)
    row["links"] = [
        {**link, "href": link["href"].replace("../", "./", 1)}
        for link in row["links"]
        if link["rel"] == "derived_from"
    ]
    for file in place.files:
        row["assets"][file.layer]["href"] = f"./{file.path}"
    return row


def _collection(told: Told, places: Sequence[Place], map_href: str) -> Collection:
    start, end = _interval(told.interval)
    around = hull([place.bbox for place in places])
    collection = Collection(
        id=told.id,
        title=told.title,
        description=f"{told.title}, legend {told.legend.name}, from {', '.join(told.sensors)}.",
        extent=Extent(SpatialExtent([list(around)]), TemporalExtent([[start, end]])),
        license=told.license,
        # An extension must be used where it is named.
        stac_extensions=[_RASTER, _CLASSIFICATION],
        extra_fields={
            "item_assets": {name: _asset(told, name) for name in (LANDCOVER, CONFIDENCE)}
        },
    )
    collection.add_asset(
        "zarr", Asset(map_href, "The map as Zarr", media_type=_ZARR, roles=["data"])
    )
    return collection


def _item(told: Told, place: Place) -> Item:
    start, end = _interval(told.interval)
    block = place.block
    mapped = sum(place.pixels.values())
    item = Item(
        id=place.name,
        geometry=_geometry(place.bbox),
        bbox=list(place.bbox),
        datetime=None,
        start_datetime=start,
        end_datetime=end,
        properties={
            "title": f"{told.title}, {place.name}",
            "proj:code": block.crs,
            "proj:shape": [block.height, block.width],
            "proj:transform": [*block.transform][:6],
            "proj:bbox": list(block.bounds),
            "processing:software": {"sscl_geo": __version__},
            "processing:level": "L4",
            "processing:lineage": _lineage(told),
            "sscl:mapped_share": round(mapped / (block.height * block.width), 6),
        },
        stac_extensions=[_PROJECTION, _RASTER, _CLASSIFICATION, _PROCESSING, _FILE],
    )
    for file in place.files:
        fields = _asset(told, file.layer)
        fields |= {"file:size": file.size, "file:checksum": f"{_SHA256}{file.sha256}"}
        item.add_asset(file.layer, Asset.from_dict({**fields, "href": file.path}))
    for href in place.sources:
        item.add_link(Link("derived_from", href, media_type=_GEOJSON))
    return item


def _scaling(band: BandInput) -> dict[str, Any]:
    """Return what a network does with a band's stored numbers; mlm's z-score does not clip."""
    entering = f"clip(A, {band.low}, {band.high})"
    if band.log_offset is not None:
        entering = f"log({entering} - {band.low} + {band.log_offset})"
    score = f"({entering} - {band.mean}) / {band.spread}"
    expression = f"clip({score}, {-LARGEST_SCORE}, {LARGEST_SCORE})"
    return {"type": "processing", "format": "gdal-calc", "expression": expression}


def _model_item(told: Told, bundle: Bundle, bbox: BBox) -> dict[str, Any]:
    """Return a model as an item of the Machine Learning Model extension (mlm 1.4)."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _CLASSIFICATION, _FILE],
        "id": f"{told.id}-model",
        "geometry": _geometry(bbox),
        "bbox": list(bbox),
        "properties": _model_properties(told, bundle),
        "links": [],
        "assets": {"weights": _weights_asset(bundle)},
    }


def _model_properties(told: Told, bundle: Bundle) -> dict[str, Any]:
    start, end = (moment.isoformat() for moment in _interval(told.interval))
    network: dict[str, Any] = bundle.network
    architecture = network["backbone"]["name"]
    if bundle.members > 1:
        architecture = f"ensemble of {bundle.members} {architecture}"
    return {
        "datetime": None,
        "start_datetime": start,
        "end_datetime": end,
        "mlm:name": f"sscl_geo {told.id} {architecture}",  # begins with a letter, as it must
        "mlm:architecture": architecture,
        "mlm:tasks": [_TASK],
        "mlm:framework": "PyTorch",
        "mlm:input": [_model_input(bundle)],
        "mlm:output": [_model_output(told, bundle)],
    }


def _model_input(bundle: Bundle) -> dict[str, Any]:
    network: dict[str, Any] = bundle.network
    bands = [BandInput.model_validate(band) for band in network["bands"]]
    return {
        "name": "bands",
        "bands": [band.name for band in bands],
        "input": {
            "shape": [-1, len(bands), bundle.window, bundle.window],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [_scaling(band) for band in bands],
    }


def _model_output(told: Told, bundle: Bundle) -> dict[str, Any]:
    return {
        "name": "logits",
        "tasks": [_TASK],
        "result": {
            "shape": [-1, len(told.legend.classes), bundle.window, bundle.window],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": _classes(told.legend),
    }


def _weights_asset(bundle: Bundle) -> dict[str, Any]:
    return {
        "href": f"./{WEIGHTS}",
        "type": "application/octet-stream",
        "title": "Weights",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors",
        "file:checksum": f"{_SHA256}{bundle.weights_sha256}",
    }


def _asset(told: Told, name: str) -> dict[str, Any]:
    common = {"type": _COG, "roles": ["data"], "data_type": "uint8"}
    if name == CONFIDENCE:
        scale = {"raster:scale": 1 / FULL_CONFIDENCE, "raster:offset": 0}
        return {**common, "title": "Confidence", "nodata": NO_CONFIDENCE, **scale}
    classes = {"classification:classes": _classes(told.legend)}
    return {**common, "title": "Land cover", "nodata": 0, **classes}


def _classes(legend: Legend) -> list[dict[str, JsonValue]]:
    return [
        {
            "value": item.value,
            "name": _plain_name(item),
            "title": item.name,
            "color_hint": item.color.removeprefix("#").upper(),
        }
        for item in legend.classes
    ]


def _plain_name(item: LandClass) -> str:
    """Return a class's name as the extension wants it: of ASCII letters, digits, `-` and `_`."""
    ascii_name = unicodedata.normalize("NFKD", item.name).encode("ascii", "ignore").decode()
    words = "".join(c if c.isalnum() else " " for c in ascii_name.lower()).split()
    return "_".join(words) or f"class_{item.value}"


def _lineage(told: Told) -> str:
    members = told.model.get("members", 1)
    networks = "a network" if members == 1 else f"{members} networks"
    named = f" by {networks} of architecture {told.model['architecture']}" if told.model else ""
    if told.maps:
        named = f" as the mean of the probabilities of {len(told.maps)} maps"
    digest = told.model.get("weights_sha256", "")
    weights = f", weights sha256 {digest}" if digest else ""
    return f"Classified{named} from {', '.join(told.sensors)}{weights}."


def _interval(interval: Period) -> tuple[datetime, datetime]:
    """Return its first and last second, as STAC counts the end in."""
    start, end = (datetime.combine(day, time(), UTC) for day in (interval.start, interval.end))
    return start, end - timedelta(seconds=1)


def _geometry(bbox: BBox) -> dict[str, Any]:
    parts = [shapely.box(*part) for part in bbox.split()]
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    geometry: dict[str, Any] = shapely.geometry.mapping(shape)
    return geometry
