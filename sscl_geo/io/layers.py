"""Label and auxiliary rasters of a catalogue, such as WorldCover or a terrain model."""

from datetime import UTC, datetime, time

from pydantic import AwareDatetime

from sscl_geo.errors import CatalogError, InvalidInputError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period
from sscl_geo.io.catalog import items, query
from sscl_geo.io.items import asset_href, parse_item
from sscl_geo.io.profile import GEOTIFF, Layer, Source


class LayerItem(Frozen):
    """One raster of a layer.

    Attributes:
        id: The STAC item's id; data only, never part of a path.
        datetime: Its time, or the start of the time that it stands for, in UTC.
        end: The end of that time, in UTC.
        bbox: Its box in degrees.
        href: Unsigned address of the raster.
    """

    id: str
    datetime: AwareDatetime
    end: AwareDatetime
    bbox: BBox
    href: str

    def meets(self, interval: Period) -> bool:
        """Whether its time, which ends before `end`, has a moment within an interval."""
        if self.datetime >= self.end:
            return self.datetime in interval
        begins_before = self.datetime.astimezone(UTC).date() < interval.end
        return begins_before and self.end > datetime.combine(interval.start, time(), UTC)


def to_layer(raw: object, layer: Layer, source: Source) -> LayerItem:
    """Return an item (JSON) as a raster of a layer.

    Raises:
        CatalogError: The item is of another collection, or lacks its asset, time or box.
        UntrustedHrefError: The asset's address is not one that the catalogue may name.
    """
    item = parse_item(raw)
    if item.collection not in (None, layer.collection):
        raise CatalogError(f"collection {item.collection!r} is not {layer.collection!r}")
    href = asset_href(item, layer.asset, GEOTIFF, source)
    fields = {
        "id": item.id, "datetime": item.moment, "end": item.end, "bbox": item.box, "href": href
    }  # fmt: skip
    return parse(LayerItem, fields, f"item {item.id}")


def search_layer(
    source: Source, layer: Layer, area: BBox, interval: Period
) -> tuple[LayerItem, ...]:
    """Return the rasters of a layer that meet an area and an interval, by time and id.

    Args:
        source: The catalogue.
        layer: One of its layers.
        area: The area in degrees.
        interval: The days wanted.

    Raises:
        CatalogError: The catalogue cannot be searched, or an item of the layer cannot be used.
    """
    asked = query(source, (layer.collection,), (area,), interval).replace(step="P100Y")
    found = (to_layer(raw, layer, source) for raw in items(source, asked))
    # An API counts the moment after the last day in, at which the next year's raster begins.
    kept = (item for item in found if item.meets(interval))
    return tuple(sorted(kept, key=lambda item: (item.datetime, item.id)))


def named_layer(source: Source, name: str) -> Layer:
    """Return a catalogue's layer by our name of it, or by its collection's.

    Raises:
        InvalidInputError: The catalogue has no such layer.
    """
    layers = source.profile.layers
    by_collection = {layer.collection: layer for layer in layers.values()}
    if name not in layers and name not in by_collection:
        known = ", ".join(layers) or "none"
        raise InvalidInputError(
            f"layer {name!r}: {source.profile.name} has {known}; name one of these, or another "
            "--catalog, such as planetary-computer"
        )
    return layers.get(name) or by_collection[name]
