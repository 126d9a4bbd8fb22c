"""An open GeoTIFF, local or remote, that gives nothing made of bytes it did not get."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from sscl_geo.io.opener import Opener
from sscl_geo.io.proof import Tiles
from sscl_geo.io.ranges import RangeClient
from sscl_geo.io.remote import DamagedError, RemoteFile

MOST_BLOCK_BYTES = 512 << 20
"""A file with blocks that are larger when decoded is no raster to read windows of, or a bomb."""

_PATH = "remote.tif"
_VIRTUAL = re.compile(rf"(/vsiriopener_\w+/)?{_PATH}")

Result = TypeVar("Result")


class Dataset:
    """A GeoTIFF, opened when it is first used.

    Remote bytes come by `RangeClient`, never by GDAL's own network code: that one does not compare
    what it gets with what it asked for, does not tell one failure from another, and remembers
    failures.

    TLS proves that bytes are those that were sent. What came over plain HTTP is proven by the
    checksums of deflated tiles, and everything else by asking for it again.

    Args:
        href: Unsigned address, or path.
        client: Reads remote files.
    """

    def __init__(self, href: str, client: RangeClient) -> None:
        self._href = href
        self._scheme = urlsplit(href).scheme
        self._fetch = partial(client.fetch, href)
        self._remote = RemoteFile(self._fetch) if self._scheme in ("http", "https") else None
        self._dataset: rasterio.DatasetReader | None = None
        self._tiles: Tiles | None = None

    def use(self, act: Callable[[rasterio.DatasetReader], Result]) -> Result:
        """Return what is made of the dataset.

        Raises:
            ReadError: Bytes could not be had.
            DamagedError: They are no GeoTIFF, or not all of one. Its evidence is empty for a local
                file.
        """
        try:
            if self._dataset is None:
                self._dataset = self._opened()
            result = act(self._dataset)
            if self._remote is not None:
                self._prove(self._dataset, self._remote)
        except (RasterioError, CPLE_BaseError, DamagedError) as error:
            raise self._damaged(error) from None
        finally:
            # What could not be had is the cause of everything else.
            if self._remote is not None:
                self._remote.check()
        return result

    def close(self) -> None:
        """Close it; the next use opens it again."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def _opened(self) -> rasterio.DatasetReader:
        path, opener = self._href, None
        if self._remote is not None:
            path, opener = _PATH, Opener(self._remote)
        dataset = rasterio.open(path, driver="GTiff", sharing=False, opener=opener)
        try:
            _check(dataset)
        except DamagedError:
            dataset.close()
            raise
        return dataset

    def _prove(self, dataset: rasterio.DatasetReader, remote: RemoteFile) -> None:
        remote.check()
        if self._scheme == "http" and remote.delivered:
            self._tiles = self._tiles or Tiles(dataset)
            spans = self._tiles.unproven(remote.delivered)
            again = [part.data for part in self._fetch(spans)]
            if again != [remote.delivered[span] for span in spans]:
                raise DamagedError("one request gave different bytes twice", is_passing=True)
        remote.delivered = {}

    def _damaged(self, error: Exception) -> DamagedError:
        is_passing = isinstance(error, DamagedError) and error.is_passing
        damage = DamagedError(_brief(error), is_passing)
        if self._remote is not None:
            damage.evidence = self._remote.evidence
        return damage


def _check(dataset: rasterio.DatasetReader) -> None:
    if dataset.crs is None:
        raise DamagedError("it has no coordinate reference system")
    if not (np.isfinite(dataset.transform).all() and dataset.transform.determinant):
        raise DamagedError("its transform from pixels to the ground is none")
    block_bytes = int(np.prod(dataset.block_shapes[0])) * np.dtype(dataset.dtypes[0]).itemsize
    if block_bytes > MOST_BLOCK_BYTES:
        raise DamagedError(
            f"its blocks of {dataset.block_shapes[0]} pixels are larger than "
            f"{MOST_BLOCK_BYTES >> 20} MiB; tile it, as a COG"
        )


def _brief(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return _VIRTUAL.sub("the file", lines[0])[:300]
