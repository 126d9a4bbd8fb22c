"""Units as tasks of a Dask cluster: one started here, or a running one by its address.

A bounded window of tasks is submitted at a time, so that the scheduler's load does not grow with
the plan.
"""

import ipaddress
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from itertools import islice
from urllib.parse import urlsplit

import cryptography  # noqa: F401 - for certificates; distributed tells too late if it is absent
import dask
from distributed import Client, Future, LocalCluster, Worker, WorkerPlugin, wait
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from sscl_geo.errors import ClusterError, InvalidInputError, brief
from sscl_geo.runtime.work import Evidence, Machines, Outcome, UnitT, attempt

TASKS_PER_THREAD = 8
CONNECT_SECONDS = 10
FETCH_SECONDS, ONE_SECONDS = 30.0, 3.0
POLL_SECONDS, MISSING_SECONDS = 5.0, 60.0
ATTEMPTS = 3
"""How often a unit is done again whose outcome went down with a worker."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable that lists the GPUs that CUDA shows a process, read when it first uses one."""

_log = logging.getLogger(__name__)

# A paused worker hangs a job and a dying one is replaced, so nothing pauses or spills.
_SETTINGS = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.scheduler.allowed-failures": 2,
    # Dask bids glibc trim, and glibc then gives every tensor of 128 KiB back to the kernel, which
    # must clear its pages again: training took 1.6 to 1.8 times as long. This is glibc's own upper
    # bound.
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
}


def execute(
    task: Callable[[UnitT], Evidence], units: Sequence[UnitT], machines: Machines
) -> Iterator[Outcome]:
    """Yield the outcome of every unit, as they finish.

    A unit whose worker dies is tried on another; after three deaths it waits for the end, when it
    is tried alone, and fails only if its workers die again.

    Raises:
        InvalidInputError: No scheduler answers at the address.
        ClusterError: The scheduler was lost, or for a minute all workers.
    """
    if not units:
        return
    suspects: list[UnitT] = []
    with dask.config.set(_SETTINGS):
        with _client(machines) as client:
            yield from _lost_told(_outcomes(client, task, units, suspects))
        # A worker's death is blamed on all that it held; alone, only the one that kills dies again.
        for unit in suspects:
            with _client(machines.replace(workers=1)) as client:
                yield from _lost_told(_alone(client, task, unit))


def _lost_told(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    try:
        yield from outcomes
    except (CommClosedError, ClosedClientError, CancelledError, OSError) as error:
        raise ClusterError(
            f"the Dask scheduler was lost ({type(error).__name__}); start one, and run the same "
            "command again"
        ) from None


def _outcomes(
    client: Client,
    task: Callable[[UnitT], Evidence],
    units: Sequence[UnitT],
    suspects: list[UnitT],
) -> Iterator[Outcome]:
    """Yield outcomes; units that went down with their workers are put among the suspects."""
    waiting = iter(units)
    given: dict[Future[Outcome], UnitT] = {}

    def submit(count: int) -> None:
        batch = list(islice(waiting, count))
        futures: list[Future[Outcome]] = client.map(partial(attempt, task), batch, pure=False)
        given.update(zip(futures, batch, strict=True))

    submit(TASKS_PER_THREAD * max(sum(client.nthreads().values()), 1))
    while given:
        ended = _ended(client, list(given))
        if ended is None:
            raise ClusterError(
                "the Dask cluster has lost all its workers; start some, and run the same command "
                "again"
            )
        if any(future.status == "cancelled" for future in ended):
            raise CancelledError
        submit(len(ended))
        # What ended meanwhile is fetched at once: a round trip each would cost more than short
        # units.
        found = _fetched(client, [future for future in ended if future.status == "finished"])
        yield from found
        known = {outcome.key for outcome in found}
        tried = [given.pop(future) for future in ended]
        suspects += [unit for unit in tried if unit.key not in known]


def _ended(client: Client, futures: list[Future[Outcome]]) -> list[Future[Outcome]] | None:
    """Wait for units to end, however long; None if there has been no worker for a minute."""
    missing_since = None
    while True:
        try:
            with client.as_current():
                return list(wait(futures, POLL_SECONDS, "FIRST_COMPLETED").done)
        except TimeoutError:
            has_worker = bool(client.scheduler_info(n_workers=-1)["workers"])
            missing_since = None if has_worker else missing_since or time.monotonic()
            if missing_since and time.monotonic() - missing_since > MISSING_SECONDS:
                return None


def _fetched(
    client: Client, futures: list[Future[Outcome]], seconds: float = FETCH_SECONDS
) -> list[Outcome]:
    """Return the outcomes that can be had; a worker may have died with some after they ended.

    Dask may then wait for ever for them, so this does not.
    """

    async def gathered() -> list[Outcome]:
        outcomes: list[Outcome] = await client.gather(futures, errors="skip", asynchronous=True)
        return outcomes

    try:
        found: list[Outcome] = client.sync(gathered, callback_timeout=seconds)
    except TimeoutError:
        if len(futures) == 1:
            return []
        return [one for future in futures for one in _fetched(client, [future], ONE_SECONDS)]
    return found


def _alone(client: Client, task: Callable[[UnitT], Evidence], unit: UnitT) -> Iterator[Outcome]:
    """Yield the outcome of a unit that nothing else runs beside."""
    cause = "KilledWorker: its workers died, and none came back"
    for _ in range(ATTEMPTS):
        future = client.submit(attempt, task, unit, pure=False)
        ended = _ended(client, [future])
        if ended is None:
            break
        if future.status == "error":
            error = future.exception()
            cause = f"{type(error).__name__}: {brief(error)}"
            break
        found = _fetched(client, [future])
        if found:
            yield found[0]
            return
    yield Outcome(key=unit.key, status="failed", cause=cause)


def worker_bytes(machines: Machines) -> int:
    """Return the memory that one unit may use: a thread's share of the smallest worker's limit.

    Raises:
        InvalidInputError: No scheduler answers at the address.
    """
    if machines.address is None:
        return int(MEMORY_LIMIT) // machines.workers
    with _client(machines) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        shares = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
    return min(shares, default=int(MEMORY_LIMIT))


@contextmanager
def _client(machines: Machines) -> Iterator[Client]:
    if machines.address is None:
        with (
            # Other users of this machine reach its loopback too; they have no certificate.
            LocalCluster(
                n_workers=machines.workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                security=Security.temporary(),
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            if machines.gpus:
                client.register_plugin(_OwnGpu(_gpus(machines.workers)))
            yield client
        return
    try:
        client = Client(machines.address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        cause = brief(error)
        raise InvalidInputError(
            f"--dask {machines.address}: no scheduler answers there ({cause}); start one, name the "
            "certificates of a tls:// address in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "__CLIENT__CERT and __CLIENT__KEY, or leave --dask out to use this machine"
        ) from None
    if not _is_shut(machines.address):
        _log.warning(
            "the Dask scheduler %s asks for no certificate: whoever reaches it can run code on it; "
            "start it and its workers with --tls-ca-file, --tls-cert and --tls-key, and give its "
            "tls:// address",
            machines.address,
        )
    with client:
        yield client


class _OwnGpu(WorkerPlugin):
    """Shows each worker of a local cluster one GPU, as it starts and whenever it starts again.

    Args:
        gpus: What CUDA calls them, by the workers' numbers.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self._gpus = gpus

    def setup(self, worker: Worker) -> None:
        """Show a worker its own."""
        os.environ[VISIBLE] = self._gpus[worker.name]


def _gpus(count: int) -> list[str]:
    """Return what CUDA calls the first GPUs that it shows this process."""
    shown = os.environ.get(VISIBLE)
    return shown.split(",")[:count] if shown else [str(number) for number in range(count)]


def _is_shut(address: str) -> bool:
    """Whether only this machine, or who has a certificate, reaches an address."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        return parts.scheme == "tls" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
