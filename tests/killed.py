"""Commands that are killed at a moment that a test names."""

import signal
import subprocess
import sys

_CODE = """
import os, signal, sys

def kill(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
from sscl_geo.cli import app
app(sys.argv[2:])
"""


def kill_before(file: str, *words: str) -> None:
    """Run a command that is killed when a file, whole beside its place, is to be put there."""
    done = subprocess.run([sys.executable, "-c", _CODE, file, *words], check=False)
    assert done.returncode == -signal.SIGKILL
