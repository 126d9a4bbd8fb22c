"""Items of a static STAC catalogue on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac
from pystac.errors import STACTypeError
from pystac.stac_io import DefaultStacIO

from sscl_geo.errors import CatalogError, brief
from sscl_geo.io.trust import checked_href

MOST_DOCUMENT_BYTES = 64 << 20


class _Below(DefaultStacIO):
    """Reads the documents of a catalogue, all of which lie below its folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def read_text_from_href(self, href: str) -> str:
        path = Path(checked_href(href, (), self._root))
        if path.stat().st_size > MOST_DOCUMENT_BYTES:
            raise CatalogError(f"{path}: is larger than {MOST_DOCUMENT_BYTES >> 20} MiB")
        return path.read_text()


def static_items(path: str, collections: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the items of some collections as JSON, asset addresses absolute.

    Raises:
        CatalogError: The file is no STAC catalogue, or a link leads out of its folder.
    """
    place = Path(path).resolve()
    try:
        catalog = pystac.Catalog.from_file(str(place), stac_io=_Below(place.parent))
        for item in catalog.get_items(recursive=True):
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
