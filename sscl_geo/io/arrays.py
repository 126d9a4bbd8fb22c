"""What a Zarr array may be, so that metadata of strangers costs no memory and runs no code."""

import math
from typing import Any, Final

import zarr

from sscl_geo.errors import InvalidInputError

CODECS: Final = frozenset({"blosc", "bytes", "crc32c", "sharding_indexed", "vlen-utf8", "zstd"})
"""Codecs that this package writes, and those of the Zarr library's own defaults."""

MOST_CHUNK_BYTES: Final = 1 << 30
"""Of an inner chunk, which is decoded whole."""


def check_array(array: "zarr.Array[Any]", told: str) -> None:
    """Check that this package could have written an array.

    Args:
        array: The array, none of whose chunks has been read.
        told: Names it in errors.

    Raises:
        InvalidInputError: It holds other than numbers or plain text, has a codec of another kind,
            or chunks beyond any use.
    """
    if array.metadata.zarr_format != 3:  # noqa: PLR2004 - of others, codecs stand elsewhere
        raise InvalidInputError(f"{told} is of Zarr's format 2, which is not read")
    if array.dtype.kind not in "biufT" or array.dtype.itemsize > 16:  # noqa: PLR2004 - bytes of text's handle
        raise InvalidInputError(f"{told} names the type {array.dtype}, which is not read")
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > MOST_CHUNK_BYTES:
        raise InvalidInputError(
            f"{told} names chunks of {array.chunks} pixels, more than {MOST_CHUNK_BYTES >> 20} MiB"
        )
    unknown = sorted(_codecs(array.metadata.to_dict()) - CODECS)
    if unknown:
        raise InvalidInputError(f"{told} names the codec {unknown[0]!r:.80}, which is not read")


def _codecs(document: Any) -> set[str]:  # noqa: ANN401 - JSON
    """Return the names of all codecs in an array's metadata, also within shards."""
    found: set[str] = set()
    waiting = [document.get("codecs", ())]
    while waiting:
        for codec in waiting.pop():
            found.add(str(codec.get("name")))
            inner = codec.get("configuration") or {}
            waiting += [inner[key] for key in ("codecs", "index_codecs") if key in inner]
    return found
