"""What all tests share: checked annotations, repeatable Hypothesis, real samples, servers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from beartype import BeartypeConf, beartype
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

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


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real samples."""
    folder = os.environ.get("SSCL_REALDATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SSCL_REALDATA does not name the folder of the real samples")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def real_api(realdata: Path) -> Iterator[str]:
    """Address of a STAC API that serves the real samples; their files come over HTTP."""
    with served(realdata / "stac" / "catalog.json") as urls:
        yield urls.api
