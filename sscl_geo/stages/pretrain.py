"""From unlabelled cubes to an encoder: the pretext tasks of a study, one after the other."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.io.bundle import CARD, Bundle, read_card, write_bundle
from sscl_geo.io.cubes import Cube
from sscl_geo.io.fields import decoded
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import measured_inputs
from sscl_geo.learn.batches import DrawSpec, Field, Patches
from sscl_geo.learn.checkpoint import State, from_bytes
from sscl_geo.learn.fit import Phase, fit
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import PretextStudy, Study
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.gang import Rank, Ranks

VERSION = 1
PRETEXTS = "sscl_geo.learn.pretext"
GANGS = "sscl_geo.runtime.gangs"
RUN = "run"
CACHE = "cache"


class _Job(Frozen):
    """What every rank needs to know."""

    cubes: tuple[Location, ...]
    network: NetworkSpec
    study: Study
    cache: Path


def pretrain(cubes: Sequence[AnyLocation], study: Study, out: Path, ranks: Ranks) -> Bundle:
    """Train an encoder on cubes and write its bundle; the same command resumes.

    Args:
        cubes: Cubes with the bands of the first; labels are not looked at.
        study: The numbers.
        out: Folder of the bundle.
        ranks: Where to train.

    Raises:
        InvalidInputError: A cube or number does not fit, or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
        TrainingError: Workers died too often.
    """
    checked_lattice(study.window, study.halo)
    _check(study, ranks)
    opened = [Cube.open(path) for path in cubes]
    began = begin(out, _plan(opened, study))
    if began and (out / CARD).exists():
        _clear(out)
        return read_card(out)
    cache = out.resolve() / CACHE
    network = NetworkSpec(
        bands=measured_inputs(opened, study.periods, cache),
        features=study.features,
        backbone=study.backbone,
    )
    job = _Job(
        cubes=tuple(cube.path.resolve() for cube in opened),
        network=network,
        study=study,
        cache=cache,
    )
    gang = plugins.find(GANGS, ranks.gang)
    state = from_bytes(gang.run(partial(train, job), out / RUN, ranks))
    bundle = write_bundle(out, _bundle(job, state), _encoder_weights(state))
    _clear(out)
    return bundle


def _clear(out: Path) -> None:
    """Delete what only an unfinished training needs."""
    for name in (RUN, CACHE):
        shutil.rmtree(out / name, ignore_errors=True)


def train(job: _Job, rank: Rank) -> None:
    """Do one rank's part of the training."""
    torch.manual_seed(job.study.seed)
    encoder = Encoder(job.network)
    tasks = [_task(pretext, encoder) for pretext in job.study.pretexts]
    model = nn.ModuleDict({"encoder": encoder, "tasks": nn.ModuleList(tasks)})
    fit(model, _phases(job, tasks, rank), rank, job.study.seed)


def _phases(job: _Job, tasks: list[nn.Module], rank: Rank) -> Iterator[Phase]:
    fields = tuple(_fields(job))
    for number, (pretext, task) in enumerate(zip(job.study.pretexts, tasks, strict=True)):
        schedule = pretext.schedule
        draw = DrawSpec(schedule.patch, schedule.batch, job.study.seed + 1000 * number, "area")
        patches = Patches(fields, job.network, draw)
        yield Phase(
            name=pretext.name,
            task=task,
            schedule=schedule,
            is_shared=plugins.find(PRETEXTS, pretext.name).IS_SHARED,
            draw=partial(patches.batch, rank=rank.rank, world=rank.world, device=rank.device),
        )


def _fields(job: _Job) -> Iterator[Field]:
    for path in job.cubes:
        cube = Cube.open(path)
        places = cube.wanted([band.name for band in job.network.bands])
        for piece in decoded(cube, places, job.cache):
            yield Field(piece.arrays, None)


def _check(study: Study, ranks: Ranks) -> None:
    if not study.pretexts:
        raise InvalidInputError(
            "the study names no pretext task; list at least one under `pretexts`"
        )
    for pretext in study.pretexts:
        _settings(pretext)
        pretext.schedule.check(ranks.ranks)


def _settings(pretext: PretextStudy) -> Any:  # noqa: ANN401 - each plugin has its own
    kind: type[Frozen] = plugins.find(PRETEXTS, pretext.name).Settings
    return parse(kind, pretext.settings, f"settings of {pretext.name}")


def _task(pretext: PretextStudy, encoder: Encoder) -> nn.Module:
    task: nn.Module = plugins.find(PRETEXTS, pretext.name).build(encoder, _settings(pretext))
    return task


def _plan(cubes: Sequence[Cube], study: Study) -> Plan:
    digests = [cube.store.plan.digest for cube in cubes]
    arguments = {"cubes": [*digests], "study": study.model_dump(mode="json", exclude={"finetune"})}
    return Plan(kind="encoder", stage_version=VERSION, arguments=arguments)


def _bundle(job: _Job, state: State) -> Bundle:
    return Bundle.model_validate(
        {
            "kind": "encoder",
            "network": job.network.model_dump(mode="json"),
            "window": job.study.window,
            "halo": job.study.halo,
            "training": {
                "cubes": [path.name for path in job.cubes],
                "pretexts": [p.model_dump(mode="json") for p in job.study.pretexts],
                "seed": job.study.seed,
            },
            "history": state["history"],
        }
    )


def _encoder_weights(state: State) -> dict[str, Any]:
    prefix = "encoder."
    model: dict[str, Any] = state["model"]  # type: ignore[assignment]
    return {
        name.removeprefix(prefix): value.numpy()
        for name, value in model.items()
        if name.startswith(prefix)
    }
