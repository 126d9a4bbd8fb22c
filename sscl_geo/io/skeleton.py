"""The documents of a Zarr hierarchy that has coordinates and no pixels yet."""

import warnings
from typing import Literal

import zarr
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from sscl_geo.io.layout import ArrayLayout, Layout


def documents(layout: Layout) -> dict[str, bytes]:
    """Return the groups, arrays and coordinates of a layout as files, by name."""
    kept: dict[str, Buffer] = {}
    root = zarr.open_group(MemoryStore(kept), mode="w", zarr_format=3)
    for name, attributes in layout.groups.items():
        group = root.require_group(name) if name else root
        group.attrs.update(dict(attributes))
    for array in layout.arrays:
        _create_array(root, array)
    with warnings.catch_warnings():
        # Consolidated metadata is not yet in the Zarr v3 specification; xarray asks for it first.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        for name in sorted(layout.groups, key=len, reverse=True):
            zarr.consolidate_metadata(root.store, path=name)
    return {name: content.to_bytes() for name, content in sorted(kept.items())}


def _create_array(root: zarr.Group, layout: ArrayLayout) -> None:
    array = root.create_array(
        layout.path,
        shape=layout.shape,
        dtype=str if layout.dtype == "str" else layout.dtype,
        chunks=layout.chunks or "auto",
        shards=layout.shards,
        fill_value=layout.fill,
        compressors=_compressors(layout),
        dimension_names=layout.dims,
        attributes=dict(layout.attributes),
        config={"write_empty_chunks": False},
    )
    if layout.values is not None:
        array[...] = layout.values


def _compressors(layout: ArrayLayout) -> list[BloscCodec] | None:
    if layout.dtype == "str" or layout.shape == ():
        return None
    shuffle: Literal["noshuffle", "shuffle"] = "noshuffle" if layout.dtype == "uint8" else "shuffle"
    return [BloscCodec(cname="zstd", clevel=3, shuffle=shuffle)]
