"""What all tests share: checked annotations, repeatable Hypothesis, real samples, servers."""

import importlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from scipy.ndimage import binary_dilation, binary_erosion

# Every annotation of the package, array shapes included, is checked in every test.
checker = ModuleType("_sscl_geo_checker")
checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules["_sscl_geo_checker"] = checker
install_import_hook("sscl_geo", "_sscl_geo_checker.checked")

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


from sscl_geo.demo.serve import served  # noqa: E402 - after the hook


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", default=2, help="How many kills each test of kills wants.")
    parser.addoption("--inputs", default=200, help="How many damaged inputs each fuzzer tries.")


LONGEST = (
    *("test_training_faults", "test_places", "test_contrast", "test_run", "test_learning"),
    *("test_map", "test_kills", "test_machines", "test_ingest", "test_letter", "test_ray_cluster"),
)
"""Modules that take more than half a minute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process ends long before the other."""
    turns = {name: turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(item.path.stem, len(turns)))


TALLY: Counter[str] = Counter()


@pytest.fixture(scope="session")
def tally() -> Counter[str]:
    """What was tried against the machines; `make chaos` prints it."""
    return TALLY


@pytest.fixture(scope="session")
def wanted(request: pytest.FixtureRequest) -> int:
    """How many kills a test wants: `pytest --kills 50`."""
    return int(request.config.getoption("--kills"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was tried, and how many of the tests that tried lost something."""
    if TALLY:
        lost = len(terminalreporter.stats.get("failed", []))
        terminalreporter.write_line(json.dumps({**TALLY, "lost": lost}))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real samples."""
    folder = os.environ.get("SSCL_REALDATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SSCL_REALDATA does not name the folder of the real samples")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of a bucket on moto's server, a process of its own that the environment names."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            environment.setenv("AWS_ALLOW_HTTP", "true")
            environment.setenv("AWS_ACCESS_KEY_ID", "tester")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")
            make_bucket("stores")
            yield "s3://stores"
    finally:
        server.terminate()
        server.wait()


def make_bucket(name: str) -> None:
    """Make a bucket; the server may still be starting."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/{name}"
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()  # noqa: S310
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="session")
def real_api(realdata: Path) -> Iterator[str]:
    """Address of a STAC API that serves the real samples; their files come over HTTP."""
    with served(realdata / "stac" / "catalog.json") as urls:
        yield urls.api


def _disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y**2 + x**2 <= radius**2)


def _clear(scl: np.ndarray, opening: int = 2, dilation: int = 5) -> np.ndarray:
    """Where a Scene Classification Layer shows the ground, by SciPy and NumPy only."""
    cloud = np.pad(np.isin(scl, (3, 8, 9, 10)), 12)
    opened = binary_dilation(binary_erosion(cloud, _disk(opening)), _disk(opening))
    wide = binary_dilation(opened, _disk(dilation))[12:-12, 12:-12]
    return np.asarray(~wide & (scl > 1))


@pytest.fixture(scope="session")
def clear_oracle() -> Callable[..., np.ndarray]:
    return _clear


@pytest.fixture(scope="session")
def with_torchvision() -> Iterator[Callable[[str], ModuleType]]:
    """Import a module that imports torchvision, whose CUDA wheel registers no operators here."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            signature = f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    # The library must live as long as its operators are needed.
    yield importlib.import_module
    del library
