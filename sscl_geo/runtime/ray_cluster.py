"""The Ray cluster of a command: started here, the one that runs it as a job, or by address."""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from sscl_geo.errors import ClusterError, InvalidInputError

AUTH_MODE, AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
AUTH_TOKEN_PATH = f"{AUTH_TOKEN}_PATH"

_log = logging.getLogger(__name__)


@contextmanager
def joined(address: str | None, cpus: int) -> Iterator[None]:
    """Hold a cluster until the block ends; inside another such block it is that one's.

    One that is started here asks everyone for a token. One that is joined and asks for none runs
    the code of whoever reaches it; a warning says so.

    Args:
        address: Where a cluster runs; None takes that of `RAY_ADDRESS`, or starts one here.
        cpus: CPUs of one that is started here.

    Raises:
        InvalidInputError: No cluster answers at the address.
        ClusterError: None could be started here.
    """
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    is_own = where == "local"
    is_asked_for = os.environ.get(AUTH_MODE, "token").lower() == "token"
    if is_own and is_asked_for and not {AUTH_TOKEN, AUTH_TOKEN_PATH} & {*os.environ}:
        # Ray itself would keep one in the home folder, where other users can read it.
        os.environ[AUTH_TOKEN] = secrets.token_hex(32)
    try:
        ray.init(
            address=where,
            num_cpus=cpus if is_own else None,
            include_dashboard=False if is_own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[-1][:300] if lines else type(error).__name__
        if is_own:
            raise ClusterError(f"no Ray cluster could be started here: {cause}") from None
        raise InvalidInputError(
            f"--ray {where}: no Ray cluster answers there ({cause}); start one, set "
            f"{AUTH_MODE}=token and {AUTH_TOKEN_PATH} if it asks for a token, or leave --ray out "
            "to use this machine"
        ) from None
    if os.environ.get(AUTH_MODE, "").lower() != "token":
        _log.warning(
            "the Ray cluster %s asks for no token: whoever reaches it can run code on it; set "
            "%s=token and %s on its nodes and here",
            where,
            AUTH_MODE,
            AUTH_TOKEN_PATH,
        )
    try:
        yield
    finally:
        ray.shutdown()


def resources() -> dict[str, float]:
    """Return what the cluster has, such as CPU, GPU and memory."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
