"""Zarr stores that are made whole, written tile by tile, and know the plan that made them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from types import EllipsisType
from typing import Any, TypeVar, cast

import numpy as np
import zarr
from jaxtyping import Shaped

from sscl_geo.errors import InvalidInputError, ReadError, readable
from sscl_geo.geo.grid import Window
from sscl_geo.io.arrays import check_array
from sscl_geo.io.client import reached
from sscl_geo.io.disk import PENDING, sync
from sscl_geo.io.layout import Layout
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.making import making
from sscl_geo.io.plan import CLAIM, PLAN, Plan, articled, read_plan
from sscl_geo.io.skeleton import documents

ZarrArray = zarr.Array[Any]
KeptT = TypeVar("KeptT")
_Index = tuple[int | slice | EllipsisType, ...]


class Store:
    """A store on a disk or in a bucket; open it with `Store.open` or `Store.create`.

    Attributes:
        path: Where it stands.
        plan: The plan that made it.
    """

    def __init__(self, path: AnyLocation, plan: Plan) -> None:
        self.path = location(path)
        self.plan = plan
        with readable(f"{path}: its Zarr metadata"), reached(str(path)):
            zarr_store = self.path.zarr_store()
            self._root = zarr.open_group(
                zarr_store, mode="r+", zarr_format=3, use_consolidated=False
            )
        self._arrays: dict[str, ZarrArray] = {}

    @classmethod
    def open(cls, path: AnyLocation, kind: str) -> "Store":
        """Open an existing store.

        Raises:
            InvalidInputError: There is none, or it is of another kind.
        """
        plan = read_plan(path)
        if plan is None or plan.kind != kind:
            found = "not found" if plan is None else f"is {articled(plan.kind)}"
            raise InvalidInputError(
                f"{path}: {found}; give the path of {articled(kind)} made by this package"
            )
        return cls(path, plan)

    @classmethod
    def create(
        cls,
        path: AnyLocation,
        plan: Plan,
        layout: Layout,
        tables: Mapping[str, bytes],
        fill: "Callable[[Store], None]" = lambda _: None,
    ) -> "Store":
        """Create a store whole: until it is, nobody can open one at `path`.

        Args:
            path: Where it will stand.
            plan: Its plan.
            layout: Its groups and arrays.
            tables: Documents beside the arrays, by file name.
            fill: Writes what the store must hold before it stands at `path`.

        Raises:
            PlanConflictError: Another command made, or is making, a store there.
        """
        with making(location(path), plan) as pending:
            for name, content in {**documents(layout), **tables}.items():
                (pending / name).put_whole(content)
            fill(cls(pending, plan))
        return cls(path, plan)

    @classmethod
    def begun(
        cls,
        path: AnyLocation,
        plan: Plan,
        layout: Layout,
        tables: Mapping[str, bytes],
    ) -> "Store":
        """Open the store that the same plan began; where nothing stands, create it.

        Args:
            path: Where it stands or will stand.
            plan: Its plan.
            layout: Its groups and arrays.
            tables: Documents beside the arrays, by file name, of a new store.

        Raises:
            InvalidInputError: Something else stands there.
            PlanConflictError: Another command made, or is making, a store there.
        """
        existing = read_plan(path)
        if existing is not None:
            existing.check(plan, path)
            return cls(path, existing)
        return cls.create(path, plan, layout, tables)

    def array(self, path: str) -> ZarrArray:
        """Return an array by its path in the store.

        Raises:
            InvalidInputError: There is none, or it is none that this package writes.
        """
        if path not in self._arrays:
            told = f"{self.path}/{path}: its Zarr metadata"
            with readable(told), reached(str(self.path)):
                array = cast("ZarrArray", self._root[path])
                check_array(array, told)
            self._arrays[path] = array
        return self._arrays[path]

    def kept(self, key: str, parsed: Callable[[object], KeptT]) -> KeptT:
        """Return what was derived once and is kept in the plan.

        Args:
            key: Its name.
            parsed: Makes a value of its JSON.

        Raises:
            InvalidInputError: It is absent or damaged.
        """
        with readable(f"{self.path / PLAN}: {key!r}"):
            return parsed(self.plan.content[key])

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of its root group."""
        return dict(self._root.attrs)

    def names(self, group: str) -> tuple[str, ...]:
        """Return the names of a group's arrays, in order; none if there is no such group.

        Raises:
            StoreError: The bucket cannot be reached.
        """
        with reached(str(self.path)):
            found = self._root.get(group)
            return tuple(sorted(found.array_keys())) if isinstance(found, zarr.Group) else ()

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
            StoreError: The bucket cannot be reached.
        """
        where: _Index = (*lead, ..., *window.slices)
        with reached(str(self.path)):
            array = self.array(path)
            try:
                array[where] = data
            except Exception:  # noqa: BLE001 - whatever a codec says of damaged bytes
                self._erase(path, lead, window)
                array[where] = data
            found = np.asarray(array[where])
            if self.path.is_local:
                # Before the ledger says so: after a loss of power a file could be there, and empty.
                for shard in self._shards(path, lead, window):
                    sync(Path(shard.key), Path(self.path.key))
        if not np.array_equal(found, data):
            message = (
                f"{self.path}/{path}: the bytes read back differ from those written; check the disk"
            )
            raise ReadError(message)
        return checksum(data)

    def _erase(self, path: str, lead: tuple[int, ...], window: Window) -> None:
        """Delete the shards of a window.

        Zarr reads a shard that the array's edge cuts off before it writes it, and cannot if that is
        damaged. A shard that is whole is not deleted: another command may be reading it back.
        """
        for shard in self._shards(path, lead, window):
            shard.delete()

    def _shards(self, path: str, lead: tuple[int, ...], window: Window) -> Iterator[Location]:
        """Yield where the shards of a window are, or would be."""
        array = self.array(path)
        shape = array.shards or array.chunks
        across = len(shape) - len(lead) - 2
        rows, columns = (
            range(first // size, -(-(first + length) // size))
            for first, length, size in zip(window[:2], window[2:], shape[-2:], strict=True)
        )
        for row, column in product(rows, columns):
            key = array.metadata.encode_chunk_key((*lead, *[0] * across, row, column))
            yield self.path / path / key

    def read(self, path: str, lead: tuple[int, ...], window: Window) -> Shaped[np.ndarray, "..."]:
        """Return `(..., y, x)` of a window, which may reach over the array's edge: fill there.

        Raises:
            ReadError: The bytes of its chunks are damaged.
            StoreError: The bucket cannot be reached.
        """
        told = f"{self.path}/{path}"
        with readable(told, ReadError), reached(str(self.path)):
            array = self.array(path)
            outer = (*array.shape[len(lead) : -2], window.height, window.width)
            out = np.full(outer, array.fill_value, array.dtype)
            inner = window.intersection(Window(0, 0, *array.shape[-2:]))
            if not inner.is_empty:
                where: _Index = (*lead, ..., *inner.slices)
                out[..., *inner.within(window).slices] = array[where]
        return out

    def thinned(
        self, path: str, lead: tuple[int, ...], longest_px: int
    ) -> Shaped[np.ndarray, "..."]:
        """Return `(..., y, x)` of at most so many pixels a side: every second, third, or so on.

        Chunks between them are not decoded, and no more is held.

        Raises:
            ReadError: The bytes of its chunks are damaged.
            StoreError: The bucket cannot be reached.
        """
        with readable(f"{self.path}/{path}", ReadError), reached(str(self.path)):
            array = self.array(path)
            every = slice(None, None, -(-max(array.shape[-2:]) // longest_px))
            where: _Index = (*lead, ..., every, every)
            return np.asarray(array[where])

    def sweep(self) -> None:
        """Delete what a killed writer left half-written."""
        if not self.path.is_local:
            (self.path / CLAIM).delete()
            return
        for path in Path(self.path.key).rglob(f"*{PENDING}*"):
            path.unlink(missing_ok=True)

    def put(self, name: str, content: bytes) -> None:
        """Write a table or document beside the arrays; readers see the old or the new one."""
        (self.path / name).put_whole(content)


def checksum(data: Shaped[np.ndarray, "..."]) -> str:
    """Return a BLAKE2b digest of an array's bytes, shape and type."""
    head = f"{data.dtype.str}{data.shape}".encode()
    body = np.ascontiguousarray(data)
    return hashlib.blake2b(body.data, key=head[:64], digest_size=16).hexdigest()
