"""From unlabelled cubes to an encoder: the pretext tasks of a study, one after the other."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import nn

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.io.bundle import CARD, Bundle, read_card, write_bundle
from sscl_geo.io.chips import Selection
from sscl_geo.io.fields import (
    Imagery,
    absolute,
    identities,
    mapped_gsd,
    opened,
    unlabelled,
    warn_of_small,
)
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import chosen_bands, measured_inputs, unmeasured_inputs
from sscl_geo.learn.batches import Field
from sscl_geo.learn.checkpoint import State, from_bytes, weights_below
from sscl_geo.learn.fit import Phase, Rank, fit
from sscl_geo.learn.init import initialise, named, settled
from sscl_geo.learn.measuring import measure_statistics, windows
from sscl_geo.learn.monitor import Measures
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.patches import DrawSpec, Patches
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import PretextStudy, Study
from sscl_geo.learn.tuning import check_compiler, tune
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.gang import CACHE, GANGS, RUN, Ranks, clear_run, running

VERSION = 7
PRETEXTS = "sscl_geo.learn.pretext"


class PretrainRequest(Frozen):
    """What to learn from.

    Attributes:
        imagery: Cubes, or chips, with the bands of the first; labels are not looked at.
        study: The numbers.
    """

    imagery: tuple[Selection, ...]
    study: Study


class _Job(Frozen):
    """What every rank needs to know."""

    request: PretrainRequest
    network: NetworkSpec
    cache: Path
    ranks: Ranks


def pretrain(
    request: PretrainRequest, out: Path, ranks: Ranks, cache: Path | None = None
) -> Bundle:
    """Train an encoder on cubes or chips and write its bundle; the same command resumes.

    Args:
        request: What to learn from.
        out: Folder of the bundle.
        ranks: Where to train.
        cache: Folder of decoded imagery that others share; one of the run's own if None.

    Raises:
        InvalidInputError: A cube or number does not fit, or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
        TrainingError: Workers died too often.
    """
    study = settled(request.study)
    request = request.replace(study=study)
    checked_lattice(study.window, study.halo)
    sources = [opened(selection) for selection in request.imagery]
    names = [band.name for band in chosen_bands(sources[0], study.periods, study.inputs)]
    for source in sources:
        source.wanted(names)
        if type(source) is not type(sources[0]):
            raise InvalidInputError(
                f"{source.path}: chips and cubes do not mix; give what is of the kind of "
                f"{sources[0].path}"
            )
    _check(study, sources[0], ranks)
    began = begin(out, _plan(sources, study))
    if began and (out / CARD).exists():
        clear_run(out)
        return read_card(out)
    warn_of_small(sources, max(pretext.schedule.patch for pretext in study.pretexts))
    cache = (cache or out / CACHE).resolve()
    with running(out):
        bands = measured_inputs(sources, study.periods, study.inputs, cache, study.reflectance)
        job = _Job(
            request=request.replace(imagery=tuple(absolute(one) for one in request.imagery)),
            network=study.network(bands, mapped_gsd(sources[0])),
            cache=cache,
            ranks=ranks,
        )
        gang = plugins.find(GANGS, ranks.gang)
        state = from_bytes(gang.run(partial(train, job), out / RUN, ranks))
        bundle = write_bundle(out, _bundle(job, state), weights_below(state, "encoder."))
        clear_run(out)
    return bundle


def train(job: _Job, rank: Rank) -> None:
    """Do one rank's part of the training."""
    encoder, tasks = _modules(job.request.study, job.network)
    tune(encoder, recomputes=job.ranks.recomputes, compiles=job.ranks.compiles)
    model = nn.ModuleDict({"encoder": encoder, "tasks": nn.ModuleList(tasks)})
    fit(model, _phases(job, encoder, tasks, rank), rank, job.request.study.seed)


def _modules(study: Study, network: NetworkSpec) -> tuple[Encoder, list[nn.Module]]:
    """Return the encoder and the tasks as training begins with them."""
    torch.manual_seed(study.seed)
    encoder = Encoder(network)
    initialise(encoder, study.init.name, study.init.settings)
    return encoder, [_task(pretext, encoder) for pretext in study.pretexts]


def _phases(job: _Job, encoder: Encoder, tasks: list[nn.Module], rank: Rank) -> Iterator[Phase]:
    study, fields = job.request.study, tuple(_fields(job))
    mapped = windows(fields, job.network, study.window, study.seed)
    measure = partial(
        measure_statistics, encoder, partial(mapped.batch, rank=0, world=1, device=rank.device)
    )
    for number, (pretext, task) in enumerate(zip(study.pretexts, tasks, strict=True)):
        schedule = pretext.schedule
        draw = DrawSpec(schedule.patch, schedule.batch, study.seed + 1000 * number, "area")
        patches = Patches(fields, job.network, draw)
        yield Phase(
            name=pretext.name,
            task=task,
            schedule=schedule,
            steady=getattr(task, "steady", ()),
            measured=partial(getattr, task, "measured", Measures()),
            draw=partial(patches.batch, rank=rank.rank, world=rank.world, device=rank.device),
            finish=measure if number + 1 == len(tasks) else None,
        )


def _fields(job: _Job) -> Iterator[Field]:
    names = [band.name for band in job.network.bands]
    for piece in unlabelled(job.request.imagery, names, job.cache):
        yield Field(piece.arrays, None)


def _check(study: Study, source: Imagery, ranks: Ranks) -> None:
    """Check the numbers, and that there are such modules, before anything is written."""
    if not study.pretexts:
        raise InvalidInputError(
            "the study names no pretext task; list at least one under `pretexts`"
        )
    for pretext in study.pretexts:
        pretext.schedule.check(ranks.ranks)
        if pretext.schedule.head_learning_rate is not None:
            raise InvalidInputError(
                f"{pretext.name}: head_learning_rate is of finetuning, where a head is new; leave "
                "it out"
            )
    bands = unmeasured_inputs(source, study.periods, study.inputs, study.reflectance)
    _modules(study, study.network(bands, mapped_gsd(source)))
    if ranks.compiles and ranks.address is None:
        check_compiler(has_gpu=ranks.gpus)


def _settings(pretext: PretextStudy) -> Any:  # noqa: ANN401 - each plugin has its own
    kind: type[Frozen] = plugins.find(PRETEXTS, pretext.name).Settings
    return parse(kind, pretext.settings, f"settings of {pretext.name}")


def _task(pretext: PretextStudy, encoder: Encoder) -> nn.Module:
    task: nn.Module = plugins.find(PRETEXTS, pretext.name).build(encoder, _settings(pretext))
    return task


def _plan(imagery: Sequence[Imagery], study: Study) -> Plan:
    arguments: dict[str, JsonValue] = {
        "imagery": identities(imagery),
        "study": named(study).model_dump(mode="json", exclude={"finetune"}),
    }
    return Plan(kind="encoder", stage_version=VERSION, arguments=arguments)


def _bundle(job: _Job, state: State) -> Bundle:
    return Bundle.model_validate(
        {
            "kind": "encoder",
            "network": job.network.model_dump(mode="json"),
            "window": job.request.study.window,
            "halo": job.request.study.halo,
            "training": {
                "imagery": [selection.path.name for selection in job.request.imagery],
                "init": named(job.request.study).init.model_dump(mode="json"),
                "pretexts": [p.model_dump(mode="json") for p in job.request.study.pretexts],
                "seed": job.request.study.seed,
            },
            "history": state["history"],
        }
    )
