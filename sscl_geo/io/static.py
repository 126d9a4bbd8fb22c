"""Items of a static STAC catalogue on disk."""

from collections.abc import Iterator
from typing import Any

import pystac
from pystac.errors import STACTypeError

from sscl_geo.errors import CatalogError, brief


def static_items(path: str, collections: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the items of some collections as JSON, asset addresses absolute.

    Raises:
        CatalogError: The file cannot be read as a STAC catalogue.
    """
    try:
        for item in pystac.Catalog.from_file(path).get_items(recursive=True):
            if item.collection_id in collections:
                item.make_asset_hrefs_absolute()
                yield item.to_dict(include_self_link=False, transform_hrefs=False)
    except (
        OSError,
        pystac.STACError,
        STACTypeError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        raise CatalogError(f"{path} cannot be read as a STAC catalogue: {brief(error)}") from None
