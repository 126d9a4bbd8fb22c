"""One rank's part of finetuning."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import read_card, read_weights
from sscl_geo.io.chips import Selection
from sscl_geo.io.fields import labelled, opened, unlabelled
from sscl_geo.io.location import Location
from sscl_geo.learn.batches import IGNORED, Field, joined, shares
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.fit import Phase, Rank, fit
from sscl_geo.learn.init import initialise
from sscl_geo.learn.measuring import measure_statistics, windows
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.patches import DrawSpec, Patches, extent
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.stopping import Validation, validation_loss
from sscl_geo.learn.supervised import Finetune
from sscl_geo.learn.tuning import tune
from sscl_geo.runtime.gang import Ranks
from sscl_geo.stages.finetune.request import FinetuneRequest

HEADS = ("segmenter.head",)
UNLABELLED_SEED = 500
"""What sets the draws of unlabelled ground apart from those of labels."""


class Job(Frozen):
    """What every rank needs to know."""

    request: FinetuneRequest
    network: NetworkSpec
    legend: Legend
    cache: Path
    ranks: Ranks


def train(job: Job, rank: Rank) -> None:
    """Do one rank's part of the training."""
    study = job.request.study
    schedule, settings = study.finetune.schedule, study.finetune.settings
    segmenter = initialised(job.request, job.network, len(job.legend.classes))
    tune(segmenter.encoder, recomputes=job.ranks.recomputes, compiles=job.ranks.compiles)
    fields = tuple(_fields(job, job.request.imagery, job.request.labels))
    draw = DrawSpec(schedule.patch, schedule.batch, study.seed, study.finetune.sampling)
    known = Patches(fields, job.network, draw)
    is_linear = settings.protocol == "linear"
    if is_linear:
        encoder = segmenter.encoder.to(rank.device)
        measure_statistics(encoder, partial(known.batch, rank=0, world=1, device=rank.device))
    model = Finetune(segmenter, settings, shares(fields, len(job.legend.classes)))
    sources = [known, *_unlabelled(job)]
    mapped = windows(fields, job.network, study.window, study.seed)
    measure = partial(
        measure_statistics,
        model.result.encoder,
        partial(mapped.batch, rank=0, world=1, device=rank.device),
    )
    # A head that learned on a frozen encoder fits that encoder's statistics alone.
    finish = None if is_linear else measure
    phase = Phase(
        name="finetune",
        task=model,
        schedule=schedule,
        draw=lambda step: joined(
            source.batch(step, rank.rank, rank.world, rank.device) for source in sources
        ),
        heads=HEADS,
        after_step=model.after_step,
        finish=finish,
        validation=_validation(job, model, rank, finish),
    )
    fit(model, [phase], rank, study.seed)


def decode(job: Job) -> None:
    """Decode what all ranks read, so that none does it while others wait."""
    request = job.request
    for _ in _fields(job, request.imagery, request.labels):
        pass
    for _ in _fields(job, request.validation, request.validation_labels):
        pass
    for _ in _unlabelled_fields(job):
        pass


def initialised(request: FinetuneRequest, network: NetworkSpec, classes: int) -> Segmenter:
    """Return the network as training begins with it.

    Raises:
        InvalidInputError: There is no such network, or its weights do not fit.
    """
    torch.manual_seed(request.study.seed)
    segmenter = Segmenter(network, classes)
    path, init = request.encoder, request.study.init
    if path is not None:
        arrays = read_weights(path, read_card(path))
        load_weights(segmenter.encoder, arrays, str(path))
    else:
        initialise(segmenter.encoder, init.name, init.settings)
    return segmenter


def _fields(
    job: Job, selections: Sequence[Selection], labels: Sequence[Location]
) -> Iterator[Field]:
    names = [band.name for band in job.network.bands]
    imagery = [opened(selection) for selection in selections]
    for piece, classes in labelled(imagery, labels, names, job.cache, job.legend):
        yield Field(piece.arrays, classes)


def _validation(
    job: Job, model: Finetune, rank: Rank, finish: Callable[[], None] | None
) -> Validation | None:
    """Return what judges the network as it would be if it were finished now."""
    request, study = job.request, job.request.study
    if not request.validation:
        return None
    fields = tuple(_fields(job, request.validation, request.validation_labels))
    # No labelled field is too small to count.
    known = [field for field in fields if _has_label(field)]
    side = min(study.window, *(min(extent(field, job.network)) for field in known or fields))
    try:
        shown = windows(fields, job.network, side, study.seed, study.finetune.sampling)
    except InvalidInputError:
        names = ", ".join(str(one.path) for one in request.validation)
        message = f"--validation: {names} has no labelled pixel that was seen; take other labels"
        raise InvalidInputError(message) from None
    draw = partial(shown.batch, rank=0, world=1, device=rank.device)

    def loss() -> float:
        buffers = [(buffer, buffer.clone()) for buffer in model.result.buffers()]
        if finish is not None:
            finish()
        found = validation_loss(model.result, draw, rank.rank, rank.world)
        for buffer, before in buffers:
            buffer.copy_(before)
        return found

    return Validation(loss, study.finetune.patience)


def _has_label(field: Field) -> bool:
    rows = () if field.labels is None else field.labels
    return any(bool((row != IGNORED).any()) for row in rows)


def _unlabelled_fields(job: Job) -> Iterator[Field]:
    names = [band.name for band in job.network.bands]
    for piece in unlabelled(job.request.unlabelled, names, job.cache):
        yield Field(piece.arrays, None)


def _unlabelled(job: Job) -> Iterator[Patches]:
    study = job.request.study
    teacher = study.finetune.settings.teacher
    fields = tuple(_unlabelled_fields(job))
    if not fields:
        return
    draw = DrawSpec(
        study.finetune.schedule.patch, teacher.batch, study.seed + UNLABELLED_SEED, "area"
    )
    yield Patches(fields, job.network, draw)
