"""From an encoder and few labels to a model that maps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import digest
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import CARD, Bundle, read_card, write_bundle
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import Imagery, identities, mapped_gsd, opened, warn_of_small
from sscl_geo.io.location import Location
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import measured_inputs, unmeasured_inputs
from sscl_geo.io.taught import taught
from sscl_geo.learn.checkpoint import State, from_bytes, weights_below
from sscl_geo.learn.init import named, settled
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.ops.windows import checked_lattice
from sscl_geo.runtime.gang import CACHE, GANGS, RUN, Ranks, clear_run, running
from sscl_geo.stages.finetune.request import (
    FinetuneRequest,
    absolute_request,
    check_numbers,
    check_unlabelled,
    check_validation,
    network_of,
    shared_legend,
)
from sscl_geo.stages.finetune.train import Job, decode, initialised, train

__all__ = ["FinetuneRequest", "finetune"]

VERSION = 5


def finetune(
    request: FinetuneRequest, out: Path, ranks: Ranks, cache: Path | None = None
) -> Bundle:
    """Train a model on labelled pixels and write its bundle; the same command resumes.

    Args:
        request: What to learn from.
        out: Folder of the bundle.
        ranks: Where to train.
        cache: Folder of decoded imagery that others share; one of the run's own if None.

    Raises:
        InvalidInputError: Imagery, labels and encoder do not fit, or something else stands at
            `out`.
        PlanConflictError: Another command began at `out`.
        TrainingError: Workers died too often.
    """
    study = settled(request.study) if request.encoder is None else request.study
    request = request.replace(study=study)
    checked_lattice(study.window, study.halo)
    imagery = [opened(selection) for selection in request.imagery]
    legend = shared_legend(imagery, request.labels, "--labels")
    encoder = _encoder(request)
    network = None if encoder is None else network_of(encoder, imagery, study)
    _check(request, imagery, legend, network, ranks)
    began = begin(out, _plan(request, imagery, encoder))
    if began and (out / CARD).exists():
        clear_run(out)
        return read_card(out)
    unlabelled = [opened(selection) for selection in request.unlabelled]
    warn_of_small([*imagery, *unlabelled], study.finetune.schedule.patch)
    cache = (cache or out / CACHE).resolve()
    with running(out):
        job = Job(
            request=absolute_request(request),
            network=_measured_network(request, imagery, cache) if network is None else network,
            legend=legend,
            cache=cache,
            ranks=ranks,
        )
        decode(job)
        gang = plugins.find(GANGS, ranks.gang)
        state = from_bytes(gang.run(partial(train, job), out / RUN, ranks))
        prefix = "average." if study.finetune.settings.average else "segmenter."
        bundle = write_bundle(out, _bundle(job, encoder, state), weights_below(state, prefix))
        clear_run(out)
    return bundle


def _encoder(request: FinetuneRequest) -> Bundle | None:
    """Return the encoder that training starts from; None for one without."""
    if request.encoder is None:
        return None
    encoder = read_card(request.encoder)
    if encoder.kind != "encoder":
        message = (
            f"--encoder {request.encoder}: is a finetuned model; give the folder of an encoder"
        )
        raise InvalidInputError(message)
    return encoder


def _check(
    request: FinetuneRequest,
    imagery: Sequence[Imagery],
    legend: Legend,
    network: NetworkSpec | None,
    ranks: Ranks,
) -> None:
    """Check that imagery, labels and numbers fit; without a network, for one of the study's."""
    study = request.study
    if network is None:
        inputs = unmeasured_inputs(imagery[0], study.periods, study.inputs, study.reflectance)
        network = study.network(inputs, mapped_gsd(imagery[0]))
    names = [band.name for band in network.bands]
    for one in imagery:
        one.wanted(names)
    check_validation(request, imagery, legend, names)
    check_unlabelled(request, imagery, names)
    check_numbers(request, ranks, network)
    initialised(request, network, len(legend.classes))


def _measured_network(
    request: FinetuneRequest, imagery: Sequence[Imagery], cache: Path
) -> NetworkSpec:
    """Return the study's network, with bands scaled as the imagery's statistics say."""
    study = request.study
    measured = [opened(selection) for selection in request.statistics] or imagery
    inputs = measured_inputs(measured, study.periods, study.inputs, cache, study.reflectance)
    return study.network(inputs, mapped_gsd(imagery[0]))


def _plan(request: FinetuneRequest, imagery: Sequence[Imagery], encoder: Bundle | None) -> Plan:
    return Plan(
        kind="model",
        stage_version=VERSION,
        arguments={
            "imagery": identities(imagery),
            "labels": _digests(request.labels),
            "unlabelled": identities([opened(one) for one in request.unlabelled]),
            "statistics": identities([opened(one) for one in request.statistics]),
            "validation": identities([opened(one) for one in request.validation]),
            "validation_labels": _digests(request.validation_labels),
            "encoder": None if encoder is None else encoder.weights_sha256,
            "network": None if encoder is None else digest(encoder.network),
            "study": _named(request).model_dump(mode="json", exclude={"pretexts"}),
        },
    )


def _named(request: FinetuneRequest) -> Study:
    return named(request.study) if request.encoder is None else request.study


def _digests(labels: Sequence[Location]) -> list[JsonValue]:
    return [Classes.open(path, "labels").store.plan.digest for path in labels]


def _bundle(job: Job, encoder: Bundle | None, state: State) -> Bundle:
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
                "taught": sorted({*taught(map(opened, job.request.imagery), job.request.labels)}),
                "validation": [selection.path.name for selection in job.request.validation],
                "validation_labels": [path.name for path in job.request.validation_labels],
                "encoder": None if encoder is None else encoder.model_dump(mode="json")["training"],
                "encoder_sha256": None if encoder is None else encoder.weights_sha256,
                "init": None if encoder else named(study).init.model_dump(mode="json"),
                "finetune": study.finetune.model_dump(mode="json"),
                "seed": study.seed,
            },
            "history": [*([] if encoder is None else encoder.history), *_history(state)],
        }
    )


def _history(state: State) -> list[Any]:
    history: list[Any] = state["history"]  # type: ignore[assignment]
    return history
