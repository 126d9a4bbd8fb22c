"""The most memory that this process has held, since a moment of its choice (Linux)."""

from pathlib import Path

RESET_PEAK = "5"


def reset_peak() -> None:
    """Forget the peak so far.

    A child's `ru_maxrss` begins with its parent's, so that it tells nothing of a small child.
    """
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def peak_bytes() -> int:
    """Return the peak since it was reset, in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
