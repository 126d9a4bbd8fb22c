"""Trainings tell each epoch: a line to follow, and what TensorBoard reads."""

import os
import pty
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from sscl_geo.runtime.gang import LINES, Board

EPOCHS: list[dict[str, float | int | str]] = [
    {"phase": "core", "epoch": 1, "loss": 0.5, "data_wait": 0.25, "seen_error/s2:B04": 0.75},
    {"phase": "core", "epoch": 2, "loss": 0.125, "data_wait": 0.0, "seen_error/s2:B04": 0.5},
]
TAGS = {"loss": "loss", "data_wait": "data_wait", "seen_error/s2:B04": "seen_error/s2/B04"}


def events(folder: Path) -> Iterator[Event]:
    """Yield the records of the event files: a length, its checksum, the bytes, their checksum."""
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_an_epoch_is_a_scalar_of_each_metric_and_a_line(tmp_path: Path) -> None:
    with closing(Board(tmp_path)) as board:
        for epoch in EPOCHS:
            board.add(epoch)
    told = {
        (value.tag, event.step): value.simple_value
        for event in events(tmp_path)
        for value in event.summary.value
    }
    assert told == {
        (f"core/{tag}", epoch["epoch"]): epoch[name]
        for epoch in EPOCHS
        for name, tag in TAGS.items()
    }
    assert (tmp_path / LINES).read_text().splitlines() == [
        "phase core  epoch 1  loss 0.5  data_wait 0.25",
        "phase core  epoch 2  loss 0.125  data_wait 0",
    ]


FOLLOWING = """
import pathlib, subprocess, sys
from sscl_geo.runtime.progress import followed
path = pathlib.Path(sys.argv[1])
with followed(path):
    write = f"open({str(path)!r}, 'a').write('one\\\\ntwo\\\\nhalf a li')"
    subprocess.run([sys.executable, "-c", write], check=True)
"""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_on_a_terminal_what_another_process_writes_is_followed_line_by_line(
    tmp_path: Path, *, is_terminal: bool
) -> None:
    path = tmp_path / "epochs.log"
    path.write_text("of a run before\n")
    reading, writing = pty.openpty() if is_terminal else os.pipe()
    subprocess.run([sys.executable, "-c", FOLLOWING, str(path)], check=True, stderr=writing)
    if not is_terminal:
        os.write(writing, b"nothing")
    told = os.read(reading, 1000)
    for end in (reading, writing):
        os.close(end)
    assert told == (b"one\r\ntwo\r\n" if is_terminal else b"nothing")
