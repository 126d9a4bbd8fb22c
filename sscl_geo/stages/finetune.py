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
from sscl_geo.io.cubes import Classes, Cube, whole
from sscl_geo.io.fields import decoded
from sscl_geo.io.location import Location
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import measured_inputs
from sscl_geo.learn.batches import DrawSpec, Field, Patches, Sampling
from sscl_geo.learn.checkpoint import State, from_bytes, load_weights
from sscl_geo.learn.fit import Phase, fit
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.learn.supervised import Finetune
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.gang import Rank, Ranks

VERSION = 1
GANGS = "sscl_geo.runtime.gangs"
RUN = "run"
CACHE = "cache"
HEADS = ("segmenter.head",)


class FinetuneRequest(Frozen):
    """What to learn from.

    Attributes:
        cubes: Cubes, one for each of the labels.
        labels: Labels stores on the cubes' grids, with one legend.
        encoder: Bundle of an encoder; None starts from random weights.
        study: The numbers; the network is the encoder's if there is one.
    """

    cubes: tuple[Location, ...]
    labels: tuple[Location, ...]
    encoder: Path | None
    study: Study


class _Job(Frozen):
    """What every rank needs to know."""

    request: FinetuneRequest
    network: NetworkSpec
    legend: Legend
    cache: Path


def finetune(request: FinetuneRequest, out: Path, ranks: Ranks) -> Bundle:
    """Train a model on labelled pixels and write its bundle; the same command resumes.

    Raises:
        InvalidInputError: Cubes, labels and encoder do not fit, or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
        TrainingError: Workers died too often.
    """
    checked_lattice(request.study.window, request.study.halo)
    cubes = [Cube.open(path) for path in request.cubes]
    labels = [Classes.open(path, "labels") for path in request.labels]
    _check(cubes, labels)
    encoder = None if request.encoder is None else read_card(request.encoder)
    if encoder is not None and encoder.kind != "encoder":
        message = (
            f"--encoder {request.encoder}: is a finetuned model; give the folder of an encoder"
        )
        raise InvalidInputError(message)
    request.study.finetune.schedule.check(ranks.ranks)
    began = begin(out, _plan(request, cubes, labels, encoder))
    if began and (out / CARD).exists():
        _clear(out)
        return read_card(out)
    job = _Job(
        request=_absolute(request),
        network=_network(request, cubes, encoder, out.resolve() / CACHE),
        legend=labels[0].legend,
        cache=out.resolve() / CACHE,
    )
    gang = plugins.find(GANGS, ranks.gang)
    state = from_bytes(gang.run(partial(train, job), out / RUN, ranks))
    bundle = write_bundle(out, _bundle(job, encoder, state), _segmenter_weights(state))
    _clear(out)
    return bundle


def _clear(out: Path) -> None:
    """Delete what only an unfinished training needs."""
    for name in (RUN, CACHE):
        shutil.rmtree(out / name, ignore_errors=True)


def train(job: _Job, rank: Rank) -> None:
    """Do one rank's part of the training."""
    study = job.request.study
    torch.manual_seed(study.seed)
    model = Finetune(Segmenter(job.network, len(job.legend.classes)), study.finetune.jitter)
    if job.request.encoder is not None:
        arrays = read_weights(job.request.encoder, read_card(job.request.encoder))
        load_weights(model.segmenter.encoder, arrays, str(job.request.encoder))
    schedule = study.finetune.schedule
    sampling: Sampling = "classes" if study.finetune.is_balanced else "pixels"
    draw = DrawSpec(schedule.patch, schedule.batch, study.seed, sampling)
    patches = Patches(tuple(_fields(job)), job.network, draw)
    place = partial(patches.batch, rank=rank.rank, world=rank.world, device=rank.device)
    fit(model, [Phase("finetune", model, schedule, place, HEADS)], rank, study.seed)


def _fields(job: _Job) -> Iterator[Field]:
    for cube_path, labels_path in zip(job.request.cubes, job.request.labels, strict=True):
        cube, labels = Cube.open(cube_path), Classes.open(labels_path, "labels")
        places = cube.wanted([band.name for band in job.network.bands])
        for piece in decoded(cube, places, job.cache):
            values = labels.read(piece.zone, whole(cube.spec.grid(piece.zone)))
            yield Field(piece.arrays, job.legend.indices(values))


def _check(cubes: Sequence[Cube], labels: Sequence[Classes]) -> None:
    if len(cubes) != len(labels) or not cubes:
        raise InvalidInputError(
            f"{len(cubes)} cubes and {len(labels)} labels: give as many --labels as --cube, "
            "in the same order"
        )
    for cube, label in zip(cubes, labels, strict=True):
        label.check_grids(cube.spec.grids, cube.path)
        if label.legend != labels[0].legend:
            raise InvalidInputError(
                f"{label.path} has another legend than {labels[0].path}; make both with one"
            )


def _network(
    request: FinetuneRequest, cubes: Sequence[Cube], encoder: Bundle | None, cache: Path
) -> NetworkSpec:
    if encoder is None:
        study = request.study
        bands = measured_inputs(cubes, study.periods, cache)
        return NetworkSpec(bands=bands, features=study.features, backbone=study.backbone)
    network = NetworkSpec.model_validate(encoder.network)
    for cube in cubes:
        cube.wanted([band.name for band in network.bands])
    return network


def _absolute(request: FinetuneRequest) -> FinetuneRequest:
    return request.replace(
        cubes=tuple(path.resolve() for path in request.cubes),
        labels=tuple(path.resolve() for path in request.labels),
        encoder=None if request.encoder is None else request.encoder.resolve(),
    )


def _plan(
    request: FinetuneRequest,
    cubes: Sequence[Cube],
    labels: Sequence[Classes],
    encoder: Bundle | None,
) -> Plan:
    return Plan(
        kind="model",
        stage_version=VERSION,
        arguments={
            "cubes": [cube.store.plan.digest for cube in cubes],
            "labels": [label.store.plan.digest for label in labels],
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
                "cubes": [path.name for path in job.request.cubes],
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


def _segmenter_weights(state: State) -> dict[str, Any]:
    prefix = "segmenter."
    model: dict[str, nn.Parameter] = state["model"]  # type: ignore[assignment]
    return {name.removeprefix(prefix): value.numpy() for name, value in model.items()}
