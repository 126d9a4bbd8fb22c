"""STAC items in the forms that catalogues give them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import ConfigDict
from pystac.utils import str_to_datetime

from sscl_geo.errors import CatalogError, InvalidInputError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.geo.bbox import BBox
from sscl_geo.io.profile import Source
from sscl_geo.io.trust import checked_href, redacted

BOX_LENGTHS = (4, 6)


class Asset(Frozen):
    """An asset of a STAC item, of any version; fields that nobody here names are kept aside."""

    model_config = ConfigDict(extra="allow")

    href: str
    type: str | None = None

    def field(self, name: str) -> Any:  # noqa: ANN401 - JSON of a stranger
        """Return another field; None if absent."""
        return (self.model_extra or {}).get(name)


class Item(Frozen):
    """A STAC item of version 1.0.0-beta to 1.1, as plain JSON; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    id: str
    collection: str | None = None
    bbox: tuple[float, ...] | None = None
    geometry: dict[str, Any] | None = None
    properties: dict[str, Any]
    assets: dict[str, Asset]
    links: tuple[dict[str, Any], ...] = ()

    @property
    def moment(self) -> datetime:
        """The item's `datetime`, or else its start, in UTC.

        Raises:
            CatalogError: It has neither.
        """
        return _utc(self.properties.get("datetime") or self.properties.get("start_datetime"))

    @property
    def end(self) -> datetime:
        """The item's `end_datetime`, or else its moment, in UTC.

        Raises:
            CatalogError: It has neither.
        """
        return self._bound("end_datetime")

    @property
    def start(self) -> datetime:
        """The item's `start_datetime`, or else its moment, in UTC.

        Raises:
            CatalogError: It has neither.
        """
        return self._bound("start_datetime")

    def _bound(self, name: str) -> datetime:
        told = self.properties.get(name)
        return _utc(told) if told else self.moment

    @property
    def box(self) -> BBox:
        """The item's box in degrees, without heights.

        Raises:
            CatalogError: It has none of four or six numbers.
        """
        told = self.bbox or ()
        if len(told) not in BOX_LENGTHS:
            raise CatalogError("the item has no bbox of four or six numbers")
        half = len(told) // 2
        return BBox(told[0], told[1], told[half], told[half + 1])


def parse_item(raw: object) -> Item:
    """Return a STAC item of JSON.

    Raises:
        CatalogError: It is not a STAC item.
    """
    if not isinstance(raw, Mapping):
        raise CatalogError(f"a STAC item is a JSON object, not a {type(raw).__name__}")
    try:
        return parse(Item, raw, "the item")
    except InvalidInputError as error:
        raise CatalogError(str(error)) from None


def _utc(told: object) -> datetime:
    """Return a time of an item; one without a zone is in UTC, as STAC has all times."""
    try:
        moment = str_to_datetime(told if isinstance(told, str) else "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CatalogError(f"the item has no datetime that can be read: {told!r}") from None


def present(item: Item, keys: str | tuple[str, ...]) -> Iterator[str]:
    """Yield those of some asset keys that an item has, in their order."""
    return (key for key in ((keys,) if isinstance(keys, str) else keys) if key in item.assets)


def asset_href(
    item: Item, keys: str | tuple[str, ...], media_types: tuple[str, ...], source: Source
) -> str:
    """Return the unsigned address of the first asset of `keys` that an item has.

    Raises:
        CatalogError: The item has none of them, or the asset's media type cannot be read.
        UntrustedHrefError: The address is not one that the catalogue may name.
    """
    key = next(present(item, keys), None)
    if key is None:
        named = keys if isinstance(keys, str) else "' or '".join(keys)
        raise CatalogError(f"the item has no asset '{named}'")
    asset = item.assets[key]
    media = (asset.type or "").split(";")[0].strip().lower()
    if media and media not in media_types:
        raise CatalogError(f"asset {key!r} is {media}; only {', '.join(media_types)} can be read")
    return checked_href(_address(asset, item, source), source.hosts, source.root)


def _address(asset: Asset, item: Item, source: Source) -> str:
    """Return an asset's address: the alternate that the profile prefers, on the web, absolute."""
    alternates = asset.field("alternate")
    chosen = alternates.get(source.profile.alternate) if isinstance(alternates, dict) else None
    href = str(chosen["href"]) if isinstance(chosen, dict) and "href" in chosen else asset.href
    scheme, _, rest = href.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme == "s3":
        if bucket not in source.profile.buckets:
            raise CatalogError(f"asset address {redacted(href)!r} is in a bucket, not on the web")
        return f"{source.profile.buckets[bucket]}/{key}"
    return _absolute(href, item, source)


def _absolute(href: str, item: Item, source: Source) -> str:
    own = next((str(link.get("href")) for link in item.links if link.get("rel") == "self"), "")
    if urlsplit(href).scheme or href.startswith("/"):
        return href
    if urlsplit(own).scheme in ("http", "https"):
        return urljoin(own, href)
    return str(source.root / Path(href)) if source.root else href
