"""Stores of chips: a Zarr array `(sample, band, y, x)` a sensor, labels and a table of samples."""

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Shaped, UInt8
from pydantic import model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, digest
from sscl_geo.geo.chips import Chip, ChipsSpec
from sscl_geo.geo.cube import BandSource
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.layout import chips_layout
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import records_table
from sscl_geo.ops.observation import is_observed

VERSION = 2
SAMPLES = "samples.parquet"
LABELS = "labels"
SHARD = 64
"""Chips of a shard."""


class ChipPixels(NamedTuple):
    """The pixels of one chip.

    Attributes:
        arrays: Stored numbers of each sensor's array.
        labels: Class values of the legend, 0 where there is none; None for an unlabelled chip.
    """

    arrays: dict[str, Shaped[np.ndarray, "band y x"]]
    labels: UInt8[np.ndarray, "y x"] | None


@runtime_checkable
class ChipSource(Protocol):
    """A set of chips as its makers give it."""

    @property
    def spec(self) -> ChipsSpec:
        """Its schema."""

    @property
    def chips(self) -> Sequence[Chip]:
        """Its chips."""

    @property
    def identity(self) -> str:
        """Digest of its content."""

    def read(self, number: int) -> ChipPixels:
        """Return the pixels of a chip.

        Raises:
            InvalidInputError: They break a rule of the set.
        """


class Selection(Frozen):
    """Some chips of a store, or a whole cube.

    Attributes:
        path: The store.
        samples: Numbers of chips; None takes all, or a cube.
        among: Numbers of chips that are decoded with them, once for all selections among these.
    """

    path: Location
    samples: tuple[int, ...] | None = None
    among: tuple[int, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, fields: object) -> object:
        """Take a bare path for all that stands there."""
        return fields if isinstance(fields, dict | Selection) else {"path": fields}


class Chips(NamedTuple):
    """An open store of chips, or some of them.

    Attributes:
        path: Its path.
        store: Its store.
        spec: Its schema.
        samples: Numbers of the chips that are meant, in order.
        among: Numbers of the chips that are decoded, all that are meant among them.
    """

    path: Location
    store: Store
    spec: ChipsSpec
    samples: tuple[int, ...]
    among: tuple[int, ...]

    @classmethod
    def open(
        cls,
        path: AnyLocation,
        samples: tuple[int, ...] | None = None,
        among: tuple[int, ...] = (),
    ) -> "Chips":
        """Open a store of chips.

        Raises:
            InvalidInputError: There is none at the path, or it lacks a sample.
        """
        store = Store.open(path, "chips")
        spec = store.kept("spec", ChipsSpec.model_validate)
        chosen = tuple(range(spec.count)) if samples is None else samples
        unknown = [number for number in (*chosen, *among) if not 0 <= number < spec.count]
        if unknown or not chosen:
            raise InvalidInputError(
                f"{path}: samples {unknown[:3] or 'none'} of {spec.count}; give numbers within it"
            )
        return cls(store.path, store, spec, chosen, tuple(dict.fromkeys((*among, *chosen))))

    @property
    def chips(self) -> list[Chip]:
        """What is known of the chips that are meant."""
        frame = pd.read_parquet(io.BytesIO((self.path / SAMPLES).read_bytes()))
        rows = frame.astype(str).to_dict("records")
        return [Chip.model_validate(rows[number]) for number in self.samples]

    def bands(self, periods: int = 1) -> tuple[BandSource, ...]:
        """Return every band.

        Raises:
            InvalidInputError: More than one period is asked for.
        """
        if periods != 1:
            raise InvalidInputError(f"{self.path}: chips have one period, not {periods}")
        return self.spec.bands

    def wanted(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return where bands are: positions on the band axis by array.

        Raises:
            InvalidInputError: The chips lack a band.
        """
        mine = {source.name: source for source in self.spec.bands}
        missing = [name for name in names if name not in mine]
        if missing:
            raise InvalidInputError(
                f"{self.path} lacks the bands {', '.join(missing)}; it has {', '.join(mine)}"
            )
        places: dict[str, list[int]] = {}
        for name in names:
            places.setdefault(mine[name].place.key, []).append(mine[name].index)
        return places

    def labels(self) -> UInt8[np.ndarray, "sample y x"]:
        """Return class values of the chips that are meant.

        Raises:
            InvalidInputError: The chips have none, or values that their legend does not name.
        """
        if self.spec.legend is None:
            raise InvalidInputError(f"{self.path}: these chips have no labels")
        stored = self.store.array(LABELS)
        values = np.stack([np.asarray(stored[number]) for number in self.samples])
        self.spec.legend.check(values, self.path)
        return values

    def read(
        self, names: Sequence[str]
    ) -> Iterator[tuple[dict[str, Shaped[np.ndarray, "band y x"]], UInt8[np.ndarray, "y x"]]]:
        """Yield stored numbers of bands, by array, and class values of each chip.

        Raises:
            InvalidInputError: A band is absent, or the chips have no labels.
        """
        places = self.wanted(names)
        for number, labels in zip(self.samples, self.labels(), strict=True):
            arrays = {
                key: np.asarray(self.store.array(key)[number])[indices]
                for key, indices in places.items()
            }
            yield arrays, labels


def write_chips(source: ChipSource, out: AnyLocation) -> Chips:
    """Write a set of chips as a store; nothing stands at `out` unless it is whole.

    Ground that no band saw has no label, so that no system can learn or be judged there.

    Raises:
        InvalidInputError: A chip breaks a rule of its set, or something else stands at `out`.
        PlanConflictError: Another set made what stands at `out`.
    """
    spec = source.spec
    chips = [chip.model_dump(mode="json") for chip in source.chips]
    plan = Plan(
        kind="chips",
        stage_version=VERSION,
        arguments={"source": source.identity, "spec": spec.digest, "chips": digest(chips)},
        content={"spec": spec.model_dump(mode="json")},
    )
    existing = read_plan(out)
    if existing is not None:
        existing.check(plan, out)
        return Chips.open(out)

    def fill(store: Store) -> None:
        for first in range(0, spec.count, SHARD):
            numbers = range(first, min(first + SHARD, spec.count))
            with ThreadPoolExecutor() as threads:
                pixels = list(threads.map(source.read, numbers))
            for path, block in _blocks(pixels, {one.array: one.nodata for one in spec.sensors}):
                store.array(path)[first : numbers.stop] = block

    tables = {SAMPLES: records_table(chips)}
    Store.create(out, plan, chips_layout(spec, SHARD), tables, fill)
    return Chips.open(out)


def _blocks(
    pixels: Sequence[ChipPixels], nodata: Mapping[str, int]
) -> Iterator[tuple[str, np.ndarray]]:
    for name in pixels[0].arrays:
        yield name, np.stack([chip.arrays[name] for chip in pixels])
    if pixels[0].labels is not None:
        known = [(chip.labels, chip.arrays) for chip in pixels if chip.labels is not None]
        seen = [is_observed(arrays, nodata, labels.shape) for labels, arrays in known]
        labels = np.stack([labels for labels, _ in known])
        yield LABELS, np.where(np.stack(seen), labels, np.uint8(UNLABELLED))
