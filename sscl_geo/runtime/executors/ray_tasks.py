"""Units as tasks of a Ray cluster: one started here, or a running one by its address.

For units that compute rather than read, such as the cells of an experiment; each takes one CPU, and
a GPU if it is to have one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import ray

from sscl_geo.errors import InvalidInputError, brief
from sscl_geo.runtime.ray_cluster import joined, resources
from sscl_geo.runtime.work import Evidence, Machines, Outcome, UnitT, attempt

TASKS_PER_UNIT = 2
DEATHS = 3
"""How often a unit whose worker dies is tried again."""


def execute(
    task: Callable[[UnitT], Evidence], units: Sequence[UnitT], machines: Machines
) -> Iterator[Outcome]:
    """Yield the outcome of every unit, as they finish.

    Raises:
        InvalidInputError: No cluster answers at the address, or it has no GPU and units need one.
    """
    if not units:
        return
    # Each task takes a CPU beside its GPU, of which a machine has fewer.
    cpus = (os.cpu_count() or 1) if machines.gpus else machines.workers
    with joined(machines.address, cpus):
        found, each = resources(), "GPU" if machines.gpus else "CPU"
        if machines.gpus and found.get("GPU", 0) < 1:
            raise InvalidInputError("--gpu: the Ray cluster has no GPU; leave --gpu out")
        run: Any = ray.remote(max_retries=DEATHS, num_gpus=int(machines.gpus))(attempt)
        waiting = iter(units)
        window = TASKS_PER_UNIT * max(int(found.get(each, 1)), 1)
        running = {run.remote(task, unit): unit.key for unit in islice(waiting, window)}
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            key = running.pop(done)
            yield _outcome(done, key)
            for unit in islice(waiting, 1):
                running[run.remote(task, unit)] = unit.key


def _outcome(reference: "ray.ObjectRef[Outcome]", key: str) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = f"{type(error).__name__}: {brief(error)}"
        return Outcome(key=key, status="failed", cause=cause)


def worker_bytes(machines: Machines) -> int:
    """Return the memory that one unit may use: a worker's share of this machine, or of a cluster.

    Raises:
        InvalidInputError: No cluster answers at the address.
    """
    if machines.address is None and not ray.is_initialized():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // machines.workers
    with joined(machines.address, machines.workers):
        found = resources()
        return int(found["memory"] / max(found.get("CPU", 1), 1))
