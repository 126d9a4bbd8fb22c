"""Signing asset addresses at the moment of reading; a signed address is never kept."""

from collections.abc import Callable
from typing import Literal

import planetary_computer

Signer = Callable[[str], str]
Signing = Literal["none", "planetary-computer"]


def signer(scheme: Literal["none", "planetary-computer"]) -> Signer:
    """Return what turns an unsigned address into one that can be read now.

    The Planetary Computer's tokens are cached per container and renewed before they expire by the
    `planetary_computer` package.
    """
    if scheme == "none":
        return str
    sign: Signer = planetary_computer.sign_url
    return sign
