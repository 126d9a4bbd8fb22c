"""Reading blocks of GeoTIFFs, local or by HTTP ranges, on any grid."""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

import numpy as np
import rasterio
from jaxtyping import Shaped

from sscl_geo.errors import ReadError
from sscl_geo.geo.grid import Block
from sscl_geo.io.answers import Span
from sscl_geo.io.dataset import Dataset
from sscl_geo.io.gdal import SETTINGS
from sscl_geo.io.patience import Patience
from sscl_geo.io.ranges import RangeClient
from sscl_geo.io.remote import DamagedError
from sscl_geo.io.signing import Signer
from sscl_geo.io.trust import redacted
from sscl_geo.io.warping import Content, warped
from sscl_geo.io.windows import own_window, read_padded, thinned

MOST_OPEN = 64
"""Files that a reader holds open; beyond it the least recently used is closed."""

Result = TypeVar("Result")


class GeoTiffReader:
    """Reads blocks and keeps files open until the `with` block ends; for one thread.

    Args:
        sign: Turns an unsigned address into one that can be read now.
        patience: When to try again; by default `Patience()`.
    """

    def __init__(self, sign: Signer, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._client = RangeClient(sign, self._patience)
        self._random = np.random.default_rng(0)
        self._open: OrderedDict[str, Dataset] = OrderedDict()
        self._stack = ExitStack()

    def __enter__(self) -> "GeoTiffReader":
        self._stack.enter_context(rasterio.Env(**SETTINGS))
        self._stack.callback(self._client.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for href in list(self._open):
            self._forget(href)
        self._stack.close()

    def read(
        self,
        href: str,
        block: Block,
        nodata: float,
        content: Content,
        out: Shaped[np.ndarray, "y x"] | None = None,
    ) -> Shaped[np.ndarray, "y x"]:
        """Return the first band on the pixels of a block, in the file's own type.

        Args:
            href: Unsigned address of a GeoTIFF.
            block: The pixels wanted. Where they are the file's own, they are returned untouched;
                else they are those of `warped`.
            nodata: Value of the returned pixels that have no data, also of those outside the file.
            content: What the values mean.
            out: An array to fill and return, if it is of the file's type.

        Raises:
            ReadError: The file cannot be read.
        """

        def act(dataset: rasterio.DatasetReader) -> Shaped[np.ndarray, "y x"]:
            mine = out if out is not None and out.dtype == dataset.dtypes[0] else None
            return _on_block(dataset, block, nodata, content, mine)

        return self._undamaged(href, act)

    def overview(self, href: str, longest_px: int) -> Shaped[np.ndarray, "y x"]:
        """Return the first band thinned to at most `longest_px` pixels a side, nodata as it is.

        Raises:
            ReadError: The file cannot be read.
        """
        return self._undamaged(href, lambda dataset: thinned(dataset, longest_px))

    def _undamaged(self, href: str, act: Callable[[rasterio.DatasetReader], Result]) -> Result:
        """Return what is made of a file; damaged bytes are fetched anew until they come twice."""
        before: dict[Span, bytes] = {}
        for attempt in range(1, self._patience.attempts + 1):
            try:
                return self._once(href, act)
            except DamagedError as error:
                damage = error
            is_same = not damage.evidence or _agree(before, damage.evidence)
            is_permanent = is_same and not damage.is_passing
            if is_permanent:
                break
            before = damage.evidence
            time.sleep(self._patience.pause(attempt, self._random))
        message = f"{redacted(href)} cannot be read: {damage} (attempts: {attempt})"
        raise ReadError(message, is_permanent=is_permanent)

    def _once(self, href: str, act: Callable[[rasterio.DatasetReader], Result]) -> Result:
        try:
            return self._dataset(href).use(act)
        except BaseException:
            self._forget(href)
            raise

    def _dataset(self, href: str) -> Dataset:
        if href not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._forget(next(iter(self._open)))
            self._open[href] = Dataset(href, self._client)
        self._open.move_to_end(href)
        return self._open[href]

    def _forget(self, href: str) -> None:
        self._open.pop(href).close()


def _on_block(
    dataset: rasterio.DatasetReader,
    block: Block,
    nodata: float,
    content: Content,
    out: Shaped[np.ndarray, "y x"] | None,
) -> Shaped[np.ndarray, "y x"]:
    window = own_window(dataset, block)
    if window is not None:
        return read_padded(dataset, window, nodata, out)
    return warped(dataset, block, nodata, content)


def _agree(before: dict[Span, bytes], now: dict[Span, bytes]) -> bool:
    """Whether what was fetched twice is the same, and something was."""
    both = before.keys() & now.keys()
    return bool(both) and all(before[span] == now[span] for span in both)
