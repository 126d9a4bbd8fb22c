"""Seeded damage to documents and to bytes."""

import copy
import json
from typing import Any

import numpy as np

WEIRD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    -(2**63),
    2**31,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "../../etc/passwd",
    "<VRTDataset/>",
    "/vsicurl/http://127.0.0.1/x",
    "9" * 5000,
    "\ud800",
    [],
    {},
    [[]],
    [None] * 50,
    {"a": {"b": {"c": []}}},
    [0, 0, 0, 0],
    [1e9, 1e9, -1e9, -1e9],
    "2024-13-45T99:99:99Z",
    "object",
    "<U100000",
]
"""What no reader expects where it stands."""


def damaged_document(document: Any, rng: np.random.Generator) -> Any:
    """Return a copy of a JSON document with one to three of its parts replaced, lost or doubled."""
    broken = copy.deepcopy(document)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(broken))
        if not places:
            return _weird(rng)
        holder, key = places[rng.integers(len(places))]
        deed = rng.integers(4)
        if deed == 0:
            del holder[key]
        elif deed == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = _weird(rng)
    return broken


def damaged_bytes(content: bytes, rng: np.random.Generator, head: int | None = None) -> bytes:
    """Return bytes with some flipped, cut off, doubled, overwritten or inserted.

    Args:
        content: The bytes.
        rng: Chance.
        head: Do it within the first bytes only, where formats keep their headers.
    """
    broken = bytearray(content)
    reach = max(1, min(head or len(broken), len(broken)))
    deed = rng.integers(6)
    at = int(rng.integers(reach))
    if deed == 0:
        return bytes(broken[:at])
    if deed == 1:
        broken[at:at] = rng.bytes(int(rng.integers(1, 64)))
    elif deed == 2:
        length = int(rng.integers(1, 64))
        broken[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
    elif deed == 3:
        other = int(rng.integers(reach))
        broken[at:at] = broken[other : other + 64]
    else:
        for _ in range(int(rng.integers(1, 9))):
            broken[rng.integers(reach)] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def damaged_text(document: Any, rng: np.random.Generator) -> bytes:
    """Return the text of a damaged JSON document, or damaged text of the document."""
    if rng.integers(20) == 0:
        return _nested(json.dumps(document), rng)
    if rng.integers(3):
        return json.dumps(damaged_document(document, rng)).encode("utf-8", "surrogatepass")
    return damaged_bytes(json.dumps(document).encode(), rng)


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return every (holder, key) of a document."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        keys: Any = one.keys() if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def _nested(text: str, rng: np.random.Generator) -> bytes:
    """Return the text of a document with far too deep a nesting in place of one number or text."""
    levels = int(rng.choice([500, 900, 100_000]))
    colons = [at for at, character in enumerate(text) if character == ":"]
    at = colons[rng.integers(len(colons))] + 1
    return (text[:at] + "[" * levels + "]" * levels + text[at:].partition(",")[2]).encode()


def _weird(rng: np.random.Generator) -> Any:
    return copy.deepcopy(WEIRD[rng.integers(len(WEIRD))])
