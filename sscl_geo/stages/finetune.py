"""From an encoder and few labels to a model that maps."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import CARD, Bundle, read_card, read_weights, write_bundle
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import (
    Imagery,
    absolute,
    check_stored_alike,
    decoded,
    finest_gsd,
    identities,
    labelled,
    opened,
)
from sscl_geo.io.location import Location
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import chosen_bands, measured_inputs
from sscl_geo.learn.batches import DrawSpec, Field, Patches, joined, shares
from sscl_geo.learn.checkpoint import State, from_bytes, load_weights
from sscl_geo.learn.fit import Phase, fit
from sscl_geo.learn.init import initialise
from sscl_geo.learn.measuring import measure_statistics, windows
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.learn.supervised import Finetune
from sscl_geo.learn.tuning import check_compiler, tune
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.gang import Rank, Ranks

VERSION = 2
GANGS = "sscl_geo.runtime.gangs"
RUN = "run"
CACHE = "cache"
HEADS = ("segmenter.head",)
CPU = torch.device("cpu")
UNLABELLED_SEED = 500
"""What sets the draws of unlabelled ground apart from those of labels."""


class FinetuneRequest(Frozen):
    """What to learn from.

    Attributes:
        imagery: Cubes, one for each of the labels; or chips, which have labels of their own.
        labels: Labels stores on the cubes' grids, with one legend; none for chips.
        encoder: Bundle of an encoder; None starts from the study's init.
        study: The numbers; the network is the encoder's if there is one.
        unlabelled: Cubes or chips of which a teacher labels what it is sure of.
        statistics: What means and spreads of bands are measured on, without an encoder that knows
            them; the imagery itself if empty.
    """

    imagery: tuple[Selection, ...]
    labels: tuple[Location, ...] = ()
    encoder: Path | None = None
    study: Study
    unlabelled: tuple[Selection, ...] = ()
    statistics: tuple[Selection, ...] = ()


class _Job(Frozen):
    """What every rank needs to know."""

    request: FinetuneRequest
    network: NetworkSpec
    legend: Legend
    cache: Path
    ranks: Ranks


def finetune(request: FinetuneRequest, out: Path, ranks: Ranks) -> Bundle:
    """Train a model on labelled pixels and write its bundle; the same command resumes.

    Raises:
        InvalidInputError: Imagery, labels and encoder do not fit, or something else stands at
            `out`.
        PlanConflictError: Another command began at `out`.
        TrainingError: Workers died too often.
    """
    study = request.study
    checked_lattice(study.window, study.halo)
    imagery = [opened(selection) for selection in request.imagery]
    legend = _legend(request, imagery)
    encoder = None if request.encoder is None else read_card(request.encoder)
    if encoder is not None and encoder.kind != "encoder":
        message = (
            f"--encoder {request.encoder}: is a finetuned model; give the folder of an encoder"
        )
        raise InvalidInputError(message)
    network = None if encoder is None else _network_of(encoder, imagery)
    if network is None:
        chosen_bands(imagery[0], study.periods, study.inputs)
    _check(request, ranks, has_masks=study.has_masks if network is None else network.has_masks)
    began = begin(out, _plan(request, imagery, encoder))
    if began and (out / CARD).exists():
        _clear(out)
        return read_card(out)
    if network is None:
        measured = [opened(selection) for selection in request.statistics] or imagery
        cache = out.resolve() / CACHE
        bands = measured_inputs(measured, study.periods, study.inputs, cache)
        network = study.network(bands, finest_gsd(imagery))
    job = _Job(
        request=_absolute(request),
        network=network,
        legend=legend,
        cache=out.resolve() / CACHE,
        ranks=ranks,
    )
    gang = plugins.find(GANGS, ranks.gang)
    state = from_bytes(gang.run(partial(train, job), out / RUN, ranks))
    bundle = write_bundle(out, _bundle(job, encoder, state), _result_weights(study, state))
    _clear(out)
    return bundle


def _clear(out: Path) -> None:
    """Delete what only an unfinished training needs."""
    for name in (RUN, CACHE):
        shutil.rmtree(out / name, ignore_errors=True)


def train(job: _Job, rank: Rank) -> None:
    """Do one rank's part of the training."""
    study = job.request.study
    schedule, settings = study.finetune.schedule, study.finetune.settings
    torch.manual_seed(study.seed)
    segmenter = Segmenter(job.network, len(job.legend.classes))
    _initialise(job, segmenter)
    tune(segmenter.encoder, recomputes=job.ranks.recomputes, compiles=job.ranks.compiles)
    fields = tuple(_fields(job))
    draw = DrawSpec(schedule.patch, schedule.batch, study.seed, study.finetune.sampling)
    known = Patches(fields, job.network, draw)
    is_linear = settings.protocol == "linear"
    if is_linear:
        measure_statistics(segmenter.encoder, partial(known.batch, rank=0, world=1, device=CPU))
    model = Finetune(segmenter, settings, shares(fields, len(job.legend.classes)))
    sources = [known, *_unlabelled(job)]
    mapped = windows(fields, job.network, study.window, study.seed)
    measure = partial(
        measure_statistics,
        model.result.encoder,
        partial(mapped.batch, rank=0, world=1, device=rank.device),
    )
    phase = Phase(
        name="finetune",
        task=model,
        schedule=schedule,
        draw=lambda step: joined(
            source.batch(step, rank.rank, rank.world, rank.device) for source in sources
        ),
        heads=HEADS,
        after_step=model.after_step,
        # A head that learned on a frozen encoder fits that encoder's statistics alone.
        finish=None if is_linear else measure,
    )
    fit(model, [phase], rank, study.seed)


def _initialise(job: _Job, segmenter: Segmenter) -> None:
    path, init = job.request.encoder, job.request.study.init
    if path is not None:
        arrays = read_weights(path, read_card(path))
        load_weights(segmenter.encoder, arrays, str(path))
    else:
        initialise(segmenter.encoder, init.name, init.settings)


def _fields(job: _Job) -> Iterator[Field]:
    request, names = job.request, [band.name for band in job.network.bands]
    imagery = [opened(selection) for selection in request.imagery]
    for piece, values in labelled(imagery, request.labels, names, job.cache):
        yield Field(piece.arrays, job.legend.indices(values))


def _unlabelled(job: _Job) -> Iterator[Patches]:
    study = job.request.study
    teacher = study.finetune.settings.teacher
    if not (teacher.weight and job.request.unlabelled):
        return
    fields = []
    for selection in job.request.unlabelled:
        imagery = opened(selection)
        places = imagery.wanted([band.name for band in job.network.bands])
        fields += [Field(piece.arrays, None) for piece in decoded(imagery, places, job.cache)]
    draw = DrawSpec(
        study.finetune.schedule.patch, teacher.batch, study.seed + UNLABELLED_SEED, "area"
    )
    yield Patches(tuple(fields), job.network, draw)


def _legend(request: FinetuneRequest, imagery: Sequence[Imagery]) -> Legend:
    """Return the one legend of all labels, and let only what fits meet."""
    if not imagery:
        raise InvalidInputError("nothing to learn from: give at least one cube, or chips")
    chips = [one for one in imagery if isinstance(one, Chips)]
    cubes = [one for one in imagery if not isinstance(one, Chips)]
    if (chips and cubes) or len(request.labels) != len(cubes):
        raise InvalidInputError(
            f"{len(imagery)} cubes and {len(request.labels)} labels: give as many --labels as "
            "--cube, in the same order; chips bring their own, and do not mix with cubes"
        )
    labels = [Classes.open(path, "labels") for path in request.labels]
    for cube, label in zip(cubes, labels, strict=True):
        label.check_grids(cube.spec.grids, cube.path)
    legends = [(one.path, one.spec.legend) for one in chips]
    legends += [(one.path, one.legend) for one in labels]
    for path, legend in legends:
        if legend is None:
            raise InvalidInputError(f"{path}: these chips have no labels; give ones that have")
        if legend != legends[0][1]:
            raise InvalidInputError(
                f"{path} has another legend than {legends[0][0]}; make both with one"
            )
    return Legend.model_validate(legends[0][1])


def _check(request: FinetuneRequest, ranks: Ranks, *, has_masks: bool) -> None:
    """Let only numbers train that fit each other, before anything is written."""
    finetune = request.study.finetune
    finetune.schedule.check(ranks.ranks)
    finetune.settings.check(has_masks=has_masks)
    has_teacher = bool(finetune.settings.teacher.weight)
    if has_teacher != bool(request.unlabelled):
        raise InvalidInputError(
            "a teacher needs unlabelled ground, and that a teacher: give both --unlabelled and the "
            "study's finetune.settings.teacher.weight, or neither"
        )
    if has_teacher and finetune.schedule.accumulate > 1:
        raise InvalidInputError(
            "finetune: accumulate does not go with a teacher, whose unlabelled samples would stand "
            "in parts of their own; set it to 1"
        )
    if ranks.compiles and ranks.address is None:
        check_compiler(has_gpu=ranks.gpus)


def _network_of(encoder: Bundle, imagery: Sequence[Imagery]) -> NetworkSpec:
    network = NetworkSpec.model_validate(encoder.network)
    for one in imagery:
        one.wanted([band.name for band in network.bands])
        check_stored_alike(one, network.bands)
    return network


def _absolute(request: FinetuneRequest) -> FinetuneRequest:
    return request.replace(
        imagery=tuple(absolute(selection) for selection in request.imagery),
        unlabelled=tuple(absolute(selection) for selection in request.unlabelled),
        statistics=tuple(absolute(selection) for selection in request.statistics),
        labels=tuple(path.resolve() for path in request.labels),
        encoder=None if request.encoder is None else request.encoder.resolve(),
    )


def _plan(request: FinetuneRequest, imagery: Sequence[Imagery], encoder: Bundle | None) -> Plan:
    return Plan(
        kind="model",
        stage_version=VERSION,
        arguments={
            "imagery": identities(imagery),
            "labels": [Classes.open(path, "labels").store.plan.digest for path in request.labels],
            "unlabelled": identities([opened(one) for one in request.unlabelled]),
            "statistics": identities([opened(one) for one in request.statistics]),
            "encoder": None if encoder is None else encoder.weights_sha256,
            "study": request.study.model_dump(mode="json", exclude={"pretexts"}),
        },
    )


def _bundle(job: _Job, encoder: Bundle | None, state: State) -> Bundle:
    study = job.request.study
    return Bundle.model_validate(
        {
            "kind": "model",
            "network": job.network.model_dump(mode="json"),
            "legend": job.legend.model_dump(mode="json"),
            "window": study.window,
            "halo": study.halo,
            "training": {
                "imagery": [selection.path.name for selection in job.request.imagery],
                "labels": [path.name for path in job.request.labels],
                "encoder": None if encoder is None else encoder.model_dump(mode="json")["training"],
                "encoder_sha256": None if encoder is None else encoder.weights_sha256,
                "finetune": study.finetune.model_dump(mode="json"),
                "seed": study.seed,
            },
            "history": [*([] if encoder is None else encoder.history), *_history(state)],
        }
    )


def _history(state: State) -> list[Any]:
    history: list[Any] = state["history"]  # type: ignore[assignment]
    return history


def _result_weights(study: Study, state: State) -> dict[str, Any]:
    prefix = "average." if study.finetune.settings.average else "segmenter."
    model: dict[str, nn.Parameter] = state["model"]  # type: ignore[assignment]
    return {
        name.removeprefix(prefix): value.numpy()
        for name, value in model.items()
        if name.startswith(prefix)
    }
