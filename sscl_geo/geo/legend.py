"""Legends: the classes of a map, and how labels of another coding become them."""

import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Shaped, UInt8
from pydantic import field_validator, model_serializer, model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen

UNLABELLED = 0
"""Value of a pixel without a class, in labels and maps."""


class LandClass(Frozen):
    """One class.

    Attributes:
        value: Value in labels and maps, 1..255.
        name: Its name.
        color: `#rrggbb`.
        sources: Values of a label source that mean this class; its own value if empty.
    """

    value: int
    name: str
    color: str
    sources: tuple[int, ...] = ()

    @field_validator("value")
    @classmethod
    def _in_a_byte(cls, value: int) -> int:
        if not 1 <= value <= 255:  # noqa: PLR2004 - uint8 with 0 for unlabelled
            raise InvalidInputError(
                f"class value {value}: must be within 1..255 (0 means unlabelled)"
            )
        return value

    @field_validator("color")
    @classmethod
    def _is_a_color(cls, color: str) -> str:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            raise InvalidInputError(f"class colour {color!r}: must be of the form #rrggbb")
        return color.lower()

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class Legend(Frozen):
    """The classes of a map, in the order in which a model numbers them.

    Attributes:
        name: The legend's name.
        classes: At least two classes with distinct values.
        ignored: Source values that mean no class, next to 0.
        absent: Source values of classes that never occur: no class here either, but means over all
            classes count them. Written only if there are any, so that the digests of legends
            without them stay.
    """

    name: str
    classes: tuple[LandClass, ...]
    ignored: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()

    @model_serializer(mode="wrap")
    def _without_nothing(self, written: Callable[[object], dict[str, object]]) -> dict[str, object]:
        return {name: value for name, value in written(self).items() if name != "absent" or value}

    @model_validator(mode="after")
    def _distinct(self) -> "Legend":
        values = [item.value for item in self.classes]
        sources = [source for item in self.classes for source in item.sources or (item.value,)]
        if len(values) < 2 or len({*values}) < len(values) or len({*sources}) < len(sources):  # noqa: PLR2004
            message = (
                f"legend {self.name!r}: needs two or more classes with distinct values and sources"
            )
            raise InvalidInputError(message)
        return self

    @model_validator(mode="after")
    def _unambiguous(self) -> "Legend":
        sources = {source for item in self.classes for source in item.sources or (item.value,)}
        both = sorted(sources & {*self.ignored, *self.absent})
        if both:
            raise InvalidInputError(
                f"legend {self.name!r}: the source values {both} mean a class and are `ignored` or "
                "`absent`; name each in one place"
            )
        return self

    @property
    def values(self) -> tuple[int, ...]:
        """Class values, in order."""
        return tuple(item.value for item in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, in order."""
        return tuple(item.name for item in self.classes)

    def is_like(self, other: "Legend") -> bool:
        """Whether another legend has the same classes: values and names."""
        return (self.values, self.names) == (other.values, other.names)

    def recode(self, labels: Shaped[np.ndarray, "y x"], source: str) -> UInt8[np.ndarray, "y x"]:
        """Return labels of a source's coding as class values; 0, ignored and absent ones become 0.

        Raises:
            InvalidInputError: A value has no class; the message names `source` and the values.
        """
        table = dict.fromkeys((0, *self.ignored, *self.absent), UNLABELLED)
        table |= {
            code: item.value for item in self.classes for code in item.sources or (item.value,)
        }
        present = np.unique(labels)
        # A fraction equals no class, and `item` keeps it one.
        unknown = [value.item() for value in present if value.item() not in table]
        if unknown:
            raise InvalidInputError(
                f"{source} holds the values {unknown}, which legend {self.name!r} does not "
                "name; add them to a class's `sources` or to `ignored`"
            )
        mapped = np.full(labels.shape, UNLABELLED, np.uint8)
        for value in present:
            mapped[labels == value] = table[int(value)]
        return mapped

    def check(self, labels: UInt8[np.ndarray, "*shape"], source: object) -> None:
        """Check that labels hold class values and 0 alone.

        Raises:
            InvalidInputError: There is another value; the message names `source` and the values.
        """
        strays = sorted({*np.unique(labels).tolist()} - {UNLABELLED, *self.values})
        if strays:
            raise InvalidInputError(
                f"{source} holds the values {strays}, which its legend {self.name!r} does not "
                "name; make the labels again"
            )

    def indices(self, labels: UInt8[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Return class values as positions in the legend; anything else becomes 255."""
        table = np.full(256, 255, np.uint8)
        table[list(self.values)] = np.arange(len(self.classes))
        return np.take(table, labels)
