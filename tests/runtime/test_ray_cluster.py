"""Who may use a Ray cluster: of our own, nobody without the token; of others, a warning."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from sscl_geo.runtime.ray_cluster import AUTH_TOKEN_PATH, joined, resources

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
JOIN = """
import sys
from sscl_geo.errors import reported
from sscl_geo.runtime.ray_cluster import joined
with reported(), joined(sys.argv[1], 1):
    print("joined")
"""
OPEN = """
from ray.cluster_utils import Cluster
from sscl_geo.runtime.ray_cluster import joined
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
with joined(cluster.address, 1):
    print("joined")
cluster.shutdown()
"""


def run(script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process that knows no token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_cluster_of_our_own_takes_nobody_without_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with joined(None, 1):
        assert resources()["CPU"] == 1
        address = ray.get_runtime_context().gcs_address
        stranger = run(JOIN, address)
    assert stranger.returncode == 2, stranger.stderr
    told = [line for line in stranger.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert f"--ray {address}: no Ray cluster answers there" in told[0]
    assert AUTH_TOKEN_PATH in told[0]
    assert not (tmp_path / ".ray").exists()


def test_a_cluster_that_asks_for_no_token_is_joined_with_a_warning() -> None:
    done = run(OPEN, RAY_AUTH_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert "asks for no token: whoever reaches it can run code on it" in done.stderr
