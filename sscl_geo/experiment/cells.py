"""What a unit of an experiment does: pretrain a system, or try it with some labels and a seed."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment import classical
from sscl_geo.experiment.features import (
    Arrays,
    bands_of,
    encoded,
    image_of,
    loaded,
    tensors,
    without,
)
from sscl_geo.experiment.splits import subset
from sscl_geo.experiment.units import CellUnit, EncoderUnit, Job, MemberUnit, Unit
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.bundle import read_weights
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.disk import Disk
from sscl_geo.io.statistics import chosen_bands
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.network import Encoder, Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.tuning import computes_bfloat16
from sscl_geo.ops.assessment import Assessment, Tally
from sscl_geo.ops.calibration import fitted_temperature, logits_of, tempered
from sscl_geo.ops.resolution import Detail, detail
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Evidence
from sscl_geo.sensors import nodata_of
from sscl_geo.stages.calibrate import MOST_PIXELS
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.pretrain import PretrainRequest, pretrain

Probabilities = Float32[np.ndarray, "class y x"]
"""What a system says of a chip."""

SHOWN = 16
"""Chips on which the detail of feature maps is measured."""


def run_unit(job: Job, unit: Unit) -> Evidence:
    """Pretrain a system, or train and judge one.

    One thread, so that many units share a machine, and every result is the same bits on machines
    that have bfloat16, or have not; the evidence tells which, where a study's precision is `auto`.
    """
    torch.set_num_threads(1)
    found: Evidence = {"has_bfloat16": computes_bfloat16(job.device)}
    if isinstance(unit, EncoderUnit):
        return found | _pretrained(job, unit)
    if isinstance(unit, MemberUnit):
        return found | {"chips": sum(1 for _ in _storing(job, unit.cell))}
    told = _judged(job, unit).model_dump_json(exclude={"scores": {"legend"}})
    return found | {"assessment": told}


def _pretrained(job: Job, unit: EncoderUnit) -> Evidence:
    request = PretrainRequest(
        imagery=(Selection(path=job.chips, samples=job.train),),
        study=job.experiment.study_of(unit.system, unit.seed),
    )
    bundle = pretrain(request, job.out / unit.key, Ranks(gpus=job.gpus), job.cache)
    found = _detail(job, job.out / unit.key)
    return {
        "weights": bundle.weights_sha256,
        "gradient": found.gradient,
        "frequency": found.frequency,
    }


def _detail(job: Job, path: Path) -> Detail:
    """Return the mean detail of an encoder's last maps on some chips that it is judged on."""
    encoder = loaded(path, job.device)
    encode = partial(encoded, encoder=encoder, spec=None)
    names = [band.name for band in encoder.spec.bands]
    shown = [
        detail(encode(arrays), image_of(arrays, encoder))
        for arrays, _ in _chips(job, job.judged[:SHOWN], names)
    ]
    found = [one for one in shown if one is not None]
    if not found:
        raise InvalidInputError(
            f"{job.chips}: the first {SHOWN} chips that judge show nothing to {path.name}; choose "
            "other places"
        )
    gradient, frequency = np.mean(found, axis=0).tolist()
    return Detail(gradient, frequency)


def _judged(job: Job, unit: CellUnit) -> Assessment:
    chips, legend = Chips.open(job.chips, job.judged), _legend(job)
    tally = Tally(legend)
    for labels, probabilities in zip(chips.labels(), _predicted(job, unit), strict=True):
        tally.add(labels, probabilities)
    return tally.assessment()


def _predicted(job: Job, unit: CellUnit) -> Iterator[Probabilities]:
    """Yield what a cell's system says of each chip that is judged on."""
    members = job.experiment.systems[unit.system].ensemble
    if members:
        units = [CellUnit.of(job.experiment, name, unit.labels, unit.seed) for name in members]
        stored = [_stored(job, one) for one in units]
        yield from (np.stack(both).mean(0, np.float32) for both in zip(*stored, strict=True))
    elif unit.system in job.experiment.members:
        yield from _storing(job, unit)
    else:
        yield from _learned(job, unit)


def _storing(job: Job, unit: CellUnit) -> Iterator[Probabilities]:
    """Yield what a member of an ensemble says, and keep it for the ensemble."""
    path = job.probabilities(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Disk().new_file(str(path)) as pending:
        found = _learned(job, unit)
        first = next(found)
        shape = (len(job.judged), *first.shape)
        kept = np.lib.format.open_memmap(pending, "w+", np.float16, shape)
        for number, probabilities in enumerate(chain([first], found)):
            kept[number] = probabilities
            yield probabilities
        kept.flush()


def _stored(job: Job, unit: CellUnit) -> Float16[np.ndarray, "chip class y x"]:
    path = job.probabilities(unit)
    if not path.exists():
        raise InvalidInputError(f"{path} was made and has gone; restore it, or take another --out")
    kept: np.ndarray = np.load(path, mmap_mode="r")
    return kept


def _learned(job: Job, unit: CellUnit) -> Iterator[Probabilities]:
    """Yield what a system that learns says of each chip that is judged on."""
    if not job.experiment.systems[unit.system].calibrated:
        yield from _said(job, unit, job.judged)
        return
    found = _said(job, unit, (*job.validation, *job.judged))
    legend, most = _legend(job), -(-MOST_PIXELS // len(job.validation))
    parts = []
    labels = Chips.open(job.chips, job.validation).labels()
    for classes, probabilities in zip(labels, islice(found, len(job.validation)), strict=True):
        places = np.flatnonzero(classes != UNLABELLED)
        places = places[:: -(-len(places) // most) or 1]
        logits = logits_of(probabilities.reshape(len(probabilities), -1)[:, places])
        parts.append((logits.T, legend.indices(classes).ravel()[places].astype(np.int64)))
    logits, known = map(np.concatenate, zip(*parts, strict=True))
    if not known.size:
        raise InvalidInputError("no chip of `validation` has a label; choose others")
    temperature = fitted_temperature(logits, known)
    yield from (tempered(probabilities, temperature) for probabilities in found)


def _said(job: Job, unit: CellUnit, told: tuple[int, ...]) -> Iterator[Probabilities]:
    """Let a cell's system learn, and yield what it says of some chips."""
    system = job.experiment.systems[unit.system]
    chosen = subset(job.train, unit.labels, unit.seed)
    if system.forest is not None:
        forest = classical.classifier_of("forest", unit.seed, system.forest.trees)
        bands = chosen_bands(Chips.open(job.chips), 1, job.experiment.study_of(unit.system).inputs)
        describe = partial(bands_of, nodata=nodata_of(bands), context=system.forest.context)
        names = [band.name for band in bands]
        learner = _Learner(forest, names, chosen, system.forest.pixels, unit.seed)
        yield from _by_classifier(job, learner, describe, told)
    elif system.head is not None:
        encoder = _encoder(job, unit)
        names = [band.name for band in encoder.spec.bands]
        head = classical.classifier_of(system.head.classifier, unit.seed)
        describe = partial(encoded, encoder=encoder, spec=system.head)
        learner = _Learner(head, names, chosen, system.head.pixels, unit.seed)
        yield from _by_classifier(job, learner, describe, told)
    else:
        yield from _by_network(job, unit, chosen, told)


class _Learner(NamedTuple):
    classifier: classical.Classifier
    names: Sequence[str]
    chips: tuple[int, ...]
    pixels: int
    seed: int


def _by_classifier(
    job: Job, learner: _Learner, describe: "partial[np.ndarray]", told: tuple[int, ...]
) -> Iterator[Probabilities]:
    learned = _chips(job, learner.chips, learner.names)
    known = ((describe(arrays), labels) for arrays, labels in learned)
    classifier = classical.trained(learner.classifier, known, learner.pixels, learner.seed)
    for arrays, _ in _chips(job, told, learner.names):
        yield classical.probabilities(classifier, describe(arrays), _legend(job))


def _by_network(
    job: Job, unit: CellUnit, chosen: tuple[int, ...], told: tuple[int, ...]
) -> Iterator[Probabilities]:
    out = job.out / unit.key
    study = job.experiment.study_of(unit.system, unit.seed)
    everything = (Selection(path=job.chips, samples=job.train),)
    request = FinetuneRequest(
        imagery=(Selection(path=job.chips, samples=chosen, among=job.train),),
        encoder=job.encoder_path(unit.system, unit.seed),
        study=study,
        unlabelled=everything if study.finetune.settings.teacher.weight else (),
        # As an encoder's: no system sees better scaled bands than another.
        statistics=everything,
    )
    bundle = finetune(request, out, Ranks(gpus=job.gpus), job.cache)
    segmenter = Segmenter(NetworkSpec.model_validate(bundle.network), len(_legend(job).classes))
    load_weights(segmenter, read_weights(out, bundle), str(out))
    hidden = job.experiment.systems[unit.system].judged_without
    yield from _mapped(segmenter.to(job.device).eval(), job, told, hidden)
    Disk().delete(str(out))


def _mapped(
    segmenter: Segmenter, job: Job, told: tuple[int, ...], hidden: tuple[str, ...]
) -> Iterator[Probabilities]:
    """Yield probabilities of chips, which are mapped whole, one at a time."""
    encoder = segmenter.encoder
    for arrays, _ in _chips(job, told, [band.name for band in encoder.spec.bands]):
        with torch.inference_mode():
            seen = without(arrays, encoder.spec, hidden)
            bands = encoder.normalise(tensors(seen, encoder))
            logits = segmenter(bands.values, bands.is_absent)
        yield torch.softmax(logits.float(), 1)[0].cpu().numpy()


def _encoder(job: Job, unit: CellUnit) -> Encoder:
    path = job.encoder_path(unit.system, unit.seed)
    if path is None:
        raise InvalidInputError(f"{unit.system}: a head needs a system that is pretrained")
    return loaded(path, job.device)


def _chips(
    job: Job, numbers: tuple[int, ...], names: Sequence[str]
) -> Iterator[tuple[Arrays, UInt8[np.ndarray, "y x"]]]:
    yield from Chips.open(job.chips, numbers).read(names)


def _legend(job: Job) -> Legend:
    return Legend.model_validate(Chips.open(job.chips).spec.legend)
