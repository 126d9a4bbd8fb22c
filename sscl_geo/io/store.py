"""Zarr stores that are made whole, written tile by tile, and know the plan that made them."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, cast

import numpy as np
import zarr
from jaxtyping import Shaped
from pydantic import Field, JsonValue
from zarr.codecs import BloscCodec

from sscl_geo import __version__
from sscl_geo.errors import InvalidInputError, PlanConflictError, ReadError
from sscl_geo.frozen import Frozen, canonical_json, parse
from sscl_geo.geo.grid import Window
from sscl_geo.io.layout import ArrayLayout, Layout

PLAN = "plan.json"

ZarrArray = zarr.Array[Any]
_Index = tuple[int | slice | EllipsisType, ...]


class Plan(Frozen):
    """The identity of a store: equal plans make equal bytes.

    Attributes:
        kind: What the store is: `cube`, `labels` or `map`.
        stage_version: Version of the stage that makes it.
        package_version: Version of this package.
        arguments: What the user asked for.
        content: What was derived from it once and is kept: grids, periods, digests of inputs.
    """

    kind: str
    stage_version: int
    package_version: str = __version__
    arguments: dict[str, JsonValue]
    content: dict[str, JsonValue] = Field(default_factory=dict)

    def check(self, wanted: "Plan", path: Path) -> None:
        """Let only a plan with the same arguments continue this store.

        Raises:
            PlanConflictError: A key differs; the message names it and both values.
        """
        mine = {**self.model_dump(exclude={"arguments", "content"}), **self.arguments}
        theirs = {**wanted.model_dump(exclude={"arguments", "content"}), **wanted.arguments}
        for key in sorted({*mine, *theirs}):
            if canonical_json(mine.get(key)) != canonical_json(theirs.get(key)):
                raise PlanConflictError(
                    f"{path} was made by another plan: {key} is {_short(mine.get(key))} "
                    f"there and {_short(theirs.get(key))} here; choose another --out, or "
                    "delete the old store"
                )


class Store:
    """A store on disk; open it with `Store.open` or `Store.prepare`.

    Attributes:
        path: Its folder.
        plan: The plan that made it.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self._root = zarr.open_group(path, mode="r+", use_consolidated=False)
        self._arrays: dict[str, ZarrArray] = {}

    @classmethod
    def open(cls, path: Path, kind: str) -> "Store":
        """Open an existing store.

        Raises:
            InvalidInputError: There is none, or it is of another kind.
        """
        plan = read_plan(path)
        if plan is None or plan.kind != kind:
            found = "not found" if plan is None else f"is a {plan.kind}"
            raise InvalidInputError(
                f"{path}: {found}; give the path of a {kind} made by this package"
            )
        return cls(path, plan)

    @classmethod
    def create(
        cls,
        path: Path,
        plan: Plan,
        layout: Layout,
        tables: Mapping[str, bytes],
        fill: "Callable[[Store], None]" = lambda _: None,
    ) -> "Store":
        """Create a store whole: until it is, nothing stands at `path`.

        Args:
            path: Where it will stand.
            plan: Its plan.
            layout: Its groups and arrays.
            tables: Documents beside the arrays, by file name.
            fill: Writes what the store must hold before it stands at `path`.
        """
        pending = path.with_name(f".{path.name}.pending")
        _make_empty(pending)
        _write_metadata(pending, layout)
        for name, content in tables.items():
            (pending / name).write_bytes(content)
        (pending / PLAN).write_text(plan.model_dump_json(indent=1))
        fill(cls(pending, plan))
        pending.rename(path)
        return cls(path, plan)

    def array(self, path: str) -> ZarrArray:
        """Return an array by its path in the store."""
        if path not in self._arrays:
            self._arrays[path] = cast("ZarrArray", self._root[path])
        return self._arrays[path]

    def write(
        self, path: str, lead: tuple[int, ...], window: Window, data: Shaped[np.ndarray, "..."]
    ) -> str:
        """Write whole shards, read them back, and return the checksum of their content.

        Args:
            path: The array.
            lead: Index on the axes before the last two or three, such as (time,).
            window: Rows and columns in the array's pixels; whole shards.
            data: `(..., y, x)`.

        Raises:
            ReadError: What was read back is not what was written.
        """
        where: _Index = (*lead, ..., *window.slices)
        array = self.array(path)
        self._erase(path, lead, window)
        array[where] = data
        if not np.array_equal(np.asarray(array[where]), data):
            message = (
                f"{self.path}/{path}: the bytes read back differ from those written; check the disk"
            )
            raise ReadError(message)
        return checksum(data)

    def _erase(self, path: str, lead: tuple[int, ...], window: Window) -> None:
        """Delete the shards of a window: Zarr would read one that the array's edge cuts off."""
        array = self.array(path)
        shape = array.shards or array.chunks
        across = len(shape) - len(lead) - 2
        rows, columns = (
            range(first // size, -(-(first + length) // size))
            for first, length, size in zip(window[:2], window[2:], shape[-2:], strict=True)
        )
        for row, column in product(rows, columns):
            key = array.metadata.encode_chunk_key((*lead, *[0] * across, row, column))
            (self.path / path / key).unlink(missing_ok=True)

    def read(self, path: str, lead: tuple[int, ...], window: Window) -> Shaped[np.ndarray, "..."]:
        """Return `(..., y, x)` of a window, which may reach over the array's edge: fill there."""
        array = self.array(path)
        height, width = array.shape[-2:]
        top, left = max(window.y, 0), max(window.x, 0)
        bottom, right = min(window.y + window.height, height), min(window.x + window.width, width)
        outer = (*array.shape[len(lead) : -2], window.height, window.width)
        out = np.full(outer, array.fill_value, array.dtype)
        if top < bottom and left < right:
            rows = slice(top - window.y, bottom - window.y)
            columns = slice(left - window.x, right - window.x)
            where: _Index = (*lead, ..., slice(top, bottom), slice(left, right))
            out[..., rows, columns] = array[where]
        return out

    def sweep(self) -> None:
        """Delete what a killed writer left half-written."""
        for path in self.path.rglob("*.partial"):
            path.unlink(missing_ok=True)

    def put(self, name: str, content: bytes) -> None:
        """Write a table or document beside the arrays; readers see the old or the new one."""
        write_whole(self.path / name, content)


def begin(path: Path, plan: Plan) -> bool:
    """Claim a folder for a plan; return whether the same plan had begun there before.

    Raises:
        InvalidInputError: Something else stands there.
        PlanConflictError: Another plan made it.
    """
    existing = read_plan(path)
    if existing is not None:
        existing.check(plan, path)
        return True
    pending = path.with_name(f".{path.name}.pending")
    _make_empty(pending)
    write_whole(pending / PLAN, plan.model_dump_json(indent=1).encode())
    pending.rename(path)
    return False


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InvalidInputError(
            f"{folder.parent} cannot hold a store: {error.strerror}; choose another --out"
        ) from None


def read_plan(path: Path) -> Plan | None:
    """Return the plan of the store at a path; None where nothing stands there.

    Raises:
        InvalidInputError: Something else stands there.
    """
    if not os.path.lexists(path):
        return None
    try:
        fields = json.loads((path / PLAN).read_text())
    except (OSError, ValueError):
        raise InvalidInputError(
            f"{path} exists and is not a store of this package; choose another path"
        ) from None
    return parse(Plan, fields, str(path / PLAN))


def checksum(data: Shaped[np.ndarray, "..."]) -> str:
    """Return a BLAKE2b digest of an array's bytes, shape and type."""
    head = f"{data.dtype.str}{data.shape}".encode()
    body = np.ascontiguousarray(data)
    return hashlib.blake2b(body.data, key=head[:64], digest_size=16).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    pending = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with pending.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    pending.replace(path)


def _write_metadata(path: Path, layout: Layout) -> None:
    root = zarr.open_group(path, mode="w", zarr_format=3)
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


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one readable line


def local_path(text: str) -> Path:
    """Return a path on this machine's disks.

    Raises:
        InvalidInputError: The text is a URL; object stores are not supported yet.
    """
    if "://" in text:
        raise InvalidInputError(
            f"{text}: object stores are not supported yet; give a path on a disk that all "
            "workers see"
        )
    return Path(text)
