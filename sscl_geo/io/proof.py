"""Which of the bytes that came over an unprotected line are proven by a checksum within them."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import product

import numpy as np
import rasterio
from isal import isal_zlib
from rasterio.enums import Compression, Interleaving

from sscl_geo.io.answers import Span
from sscl_geo.io.remote import DamagedError

_FRAME_BYTES = 8
"""GDAL's COGs keep 4 bytes before and after each tile (GDAL, "Cloud Optimized GeoTIFF driver"), and
GDAL may ask for those of a neighbour."""


class Tiles:
    """The tiles (or strips) of a dataset's first band, and the checksums in them.

    Each deflated tile ends with the Adler-32 of its content (RFC 1950). libtiff 4.7 does not look
    at it where damage makes the content longer: so passed one in ten tiles with one flipped bit.
    """

    def __init__(self, dataset: rasterio.DatasetReader) -> None:
        self._is_checked = dataset.compression == Compression.deflate
        rows, columns = dataset.block_shapes[0]
        is_interleaved = dataset.interleaving == Interleaving.pixel
        samples = rows * columns * (dataset.count if is_interleaved else 1)
        self._most_bytes = samples * np.dtype(dataset.dtypes[0]).itemsize
        self._spans = sorted(_spans(dataset)) if self._is_checked else []

    def unproven(self, delivered: Mapping[Span, bytes]) -> list[Span]:
        """Return the spans that hold more than whole tiles with right checksums.

        Raises:
            DamagedError: A tile's checksum is wrong.
        """
        return [span for span, data in delivered.items() if not self._proves(span, data)]

    def _proves(self, span: Span, data: bytes) -> bool:
        first = bisect_left(self._spans, span.start, key=lambda tile: tile.start)
        proven, view = _FRAME_BYTES, memoryview(data)
        for start, stop in self._spans[first:]:
            if stop > span.stop:
                break
            self._inflate(view[start - span.start : stop - span.start])
            proven += stop - start + _FRAME_BYTES
        return proven >= len(data)

    def _inflate(self, tile: memoryview) -> None:
        stream = isal_zlib.decompressobj()
        try:
            stream.decompress(tile, self._most_bytes)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance
            raise DamagedError(f"a tile is damaged ({error})") from None
        if not stream.eof:
            raise DamagedError("a tile is damaged (it does not end where it should)")


def _spans(dataset: rasterio.DatasetReader) -> list[Span]:
    rows, columns = dataset.block_shapes[0]
    across, down = math.ceil(dataset.width / columns), math.ceil(dataset.height / rows)
    found = []
    for x, y in product(range(across), range(down)):
        start = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)
        size = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1)
        if start is not None and size is not None:
            found.append(Span(int(start), int(start) + int(size)))
    return found
