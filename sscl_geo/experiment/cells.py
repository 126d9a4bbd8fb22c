"""The units of an experiment: pretrain a system once, and try it with some labels and a seed."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment import classical
from sscl_geo.experiment.features import Arrays, bands_of, encoded, loaded, tensors
from sscl_geo.experiment.spec import Experiment, LabelCount
from sscl_geo.experiment.splits import subset
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import read_weights
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.location import Location
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.network import Encoder, Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.ops.assessment import Assessment, Tally
from sscl_geo.ops.resolution import Detail, detail
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Evidence
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.pretrain import PretrainRequest, pretrain

ENCODERS, MODELS = "encoders", "models"
SHOWN = 16
"""Chips on which the detail of feature maps is measured."""


class Job(Frozen):
    """What all cells share.

    Attributes:
        experiment: The matrix.
        chips: Where the chips are, for any process.
        train: Numbers of the chips that train.
        judged: Numbers of the chips that are judged on.
        out: Absolute folder of what is made.
    """

    experiment: Experiment
    chips: Location
    train: tuple[int, ...]
    judged: tuple[int, ...]
    out: Path

    def encoder(self, system: str, seed: int) -> Path | None:
        """Return where the encoder is that a system starts from; None for one without."""
        pretrained = self.experiment.encoder_system(system)
        if pretrained is None:
            return None
        number = seed % self.experiment.encoder_seeds
        return self.out / EncoderUnit.of(self.experiment, pretrained, number).key


class EncoderUnit(Frozen):
    """The pretraining of a system with a seed."""

    system: str
    version: str
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, system: str, seed: int) -> "EncoderUnit":
        """Return the unit of an experiment's system."""
        return cls(system=system, version=experiment.encoder_version(system), seed=seed)

    @property
    def key(self) -> str:
        """Its name, which is also that of its folder."""
        return f"{ENCODERS}/{self.system}@{self.version}/{self.seed}"


class CellUnit(Frozen):
    """One system with some labelled chips and a seed."""

    system: str
    version: str
    labels: LabelCount
    seed: int

    @property
    def key(self) -> str:
        """Its name, which is also that of its folder."""
        return f"{MODELS}/{self.system}@{self.version}/{self.labels}/{self.seed}"


def run_unit(job: Job, unit: EncoderUnit | CellUnit) -> Evidence:
    """Pretrain a system, or train and judge one.

    One thread, so that many units share a machine and every result is the same bits.
    """
    torch.set_num_threads(1)
    if isinstance(unit, EncoderUnit):
        return _pretrained(job, unit)
    return {"assessment": _judged(job, unit).model_dump_json(exclude={"scores": {"legend"}})}


def _pretrained(job: Job, unit: EncoderUnit) -> Evidence:
    request = PretrainRequest(
        imagery=(Selection(path=job.chips, samples=job.train),),
        study=job.experiment.study_of(unit.system, unit.seed),
    )
    bundle = pretrain(request, job.out / unit.key, Ranks())
    found = _detail(job, job.out / unit.key)
    return {
        "weights": bundle.weights_sha256,
        "gradient": found.gradient,
        "frequency": found.frequency,
    }


def _detail(job: Job, path: Path) -> Detail:
    """Return the mean detail of an encoder's last maps on some chips that it is judged on."""
    encoder = loaded(path)
    encode = partial(encoded, encoder=encoder, spec=None)
    names = [band.name for band in encoder.spec.bands]
    shown = [
        detail(encode(arrays), bands_of(arrays, ()))
        for arrays, _ in _chips(job, job.judged[:SHOWN], names)
    ]
    gradient, frequency = np.mean(shown, axis=0).tolist()
    return Detail(gradient, frequency)


def _judged(job: Job, unit: CellUnit) -> Assessment:
    system = job.experiment.systems[unit.system]
    chosen = subset(job.train, unit.labels, unit.seed)
    if system.forest is not None:
        forest = classical.classifier_of("forest", unit.seed, system.forest.trees)
        describe = partial(bands_of, context=system.forest.context)
        return _judged_classical(
            job, _Learner(forest, _all(job), chosen, system.forest.pixels, unit.seed), describe
        )
    if system.head is not None:
        encoder = _encoder(job, unit)
        names = [band.name for band in encoder.spec.bands]
        head = classical.classifier_of(system.head.classifier, unit.seed)
        describe = partial(encoded, encoder=encoder, spec=system.head)
        return _judged_classical(
            job, _Learner(head, names, chosen, system.head.pixels, unit.seed), describe
        )
    return _judged_network(job, unit, chosen)


class _Learner(NamedTuple):
    classifier: classical.Classifier
    names: Sequence[str]
    chips: tuple[int, ...]
    pixels: int
    seed: int


def _judged_classical(job: Job, learner: _Learner, describe: "partial[np.ndarray]") -> Assessment:
    learned = _chips(job, learner.chips, learner.names)
    known = ((describe(arrays), labels) for arrays, labels in learned)
    classifier = classical.trained(learner.classifier, known, learner.pixels, learner.seed)
    tally, legend = Tally(_legend(job)), _legend(job)
    for arrays, labels in _chips(job, job.judged, learner.names):
        tally.add(labels, classical.probabilities(classifier, describe(arrays), legend))
    return tally.assessment()


def _judged_network(job: Job, unit: CellUnit, chosen: tuple[int, ...]) -> Assessment:
    out = job.out / unit.key
    study = job.experiment.study_of(unit.system, unit.seed)
    everything = (Selection(path=job.chips, samples=job.train),)
    request = FinetuneRequest(
        imagery=(Selection(path=job.chips, samples=chosen),),
        encoder=job.encoder(unit.system, unit.seed),
        study=study,
        unlabelled=everything if study.finetune.settings.teacher.weight else (),
        # As an encoder's: no system sees better scaled bands than another.
        statistics=everything,
    )
    bundle = finetune(request, out, Ranks())
    segmenter = Segmenter(NetworkSpec.model_validate(bundle.network), len(_legend(job).classes))
    load_weights(segmenter, read_weights(out, bundle), str(out))
    found = judge(segmenter.eval(), Chips.open(job.chips, job.judged))
    shutil.rmtree(out)
    return found


@torch.inference_mode()
def judge(segmenter: Segmenter, chips: Chips) -> Assessment:
    """Map chips whole, one at a time, and compare with their labels.

    Raises:
        InvalidInputError: The chips have no labels, or lack a band of the network.
    """
    if chips.spec.legend is None:
        raise InvalidInputError(f"{chips.path}: these chips have no labels")
    tally = Tally(chips.spec.legend)
    encoder = segmenter.encoder
    for arrays, labels in chips.read([band.name for band in encoder.spec.bands]):
        bands = encoder.normalise(tensors(arrays))
        logits = segmenter(bands.values, bands.is_absent)
        tally.add(labels, torch.softmax(logits.float(), 1)[0].numpy())
    return tally.assessment()


def _encoder(job: Job, unit: CellUnit) -> Encoder:
    path = job.encoder(unit.system, unit.seed)
    if path is None:
        raise InvalidInputError(f"{unit.system}: a head needs a system that is pretrained")
    return loaded(path)


def _chips(
    job: Job, numbers: tuple[int, ...], names: Sequence[str]
) -> Iterator[tuple[Arrays, UInt8[np.ndarray, "y x"]]]:
    yield from Chips.open(job.chips, numbers).read(names)


def _all(job: Job) -> list[str]:
    return [band.name for band in Chips.open(job.chips).spec.bands]


def _legend(job: Job) -> Legend:
    return Legend.model_validate(Chips.open(job.chips).spec.legend)
