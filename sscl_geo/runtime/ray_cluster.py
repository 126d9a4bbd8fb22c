"""The Ray cluster of a command: started here, the one that runs it as a job, or by address."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from sscl_geo.errors import InvalidInputError


@contextmanager
def joined(address: str | None, cpus: int) -> Iterator[None]:
    """Hold a cluster until the block ends; inside another such block it is that one's.

    Args:
        address: Where a cluster runs; None takes that of `RAY_ADDRESS`, or starts one here.
        cpus: CPUs of one that is started here.

    Raises:
        InvalidInputError: No cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    is_own = where == "local"
    try:
        ray.init(
            address=where,
            num_cpus=cpus if is_own else None,
            include_dashboard=False if is_own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[-1][:300] if lines else type(error).__name__
        raise InvalidInputError(
            f"--ray {where}: no Ray cluster answers there ({cause}); start one, or leave --ray out "
            "to use this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def resources() -> dict[str, float]:
    """Return what the cluster has, such as CPU, GPU and memory."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
