"""Running an experiment: cell by cell, resumable, on any executor."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from sscl_geo.errors import HolesError, InvalidInputError
from sscl_geo.experiment.cells import SHOWN, run_unit
from sscl_geo.experiment.curve import curve_picture
from sscl_geo.experiment.feature_maps import feature_picture, most_varied, panels
from sscl_geo.experiment.features import hidden_bands
from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.splits import Split, split_chips, subset
from sscl_geo.experiment.tables import Key, markdown
from sscl_geo.experiment.units import CellUnit, EncoderUnit, Job, MemberUnit, Unit
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import Chips
from sscl_geo.io.disk import write_whole
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.statistics import chosen_bands
from sscl_geo.learn.resnet import maps_per_pixel
from sscl_geo.learn.study import Study
from sscl_geo.ops.assessment import Assessment
from sscl_geo.ops.resolution import Detail
from sscl_geo.runtime.gang import running
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Machines, Outcome, Stage

_log = logging.getLogger(__name__)

VERSION = 1
TABLES, RESULTS = "results.md", "results.json"
CURVE, FEATURES = "curve.png", "features.png"
CELL_BYTES = 2 * 2**30
"""What a cell holds besides what a step keeps for its gradient; decoded chips are mapped from
files."""

KEPT_PER_LAYER = 3
"""Maps that a step keeps of a convolution: its input, and those for batch norm and ReLU."""


def run_experiment(
    experiment: Experiment,
    chips: AnyLocation,
    out: Path,
    machines: Machines,
    judged: Literal["test", "validation"] = "test",
    whole: Experiment | None = None,
) -> Summary:
    """Do every cell of an experiment that is not done, and write its tables.

    A unit that fails holds nothing back but what needs it.

    Args:
        experiment: The matrix; cells are known by what decides them, so it may grow and change.
        chips: A store of labelled chips.
        out: Folder of what is made; the same command resumes.
        machines: Where cells run.
        judged: Which chips systems are judged on; choices are made on `validation`, without the
            systems that are calibrated on it.
        whole: The matrix of which this is a part, for the tables, which tell all that is done.

    Raises:
        InvalidInputError: The experiment does not fit the chips, something else stands at `out`, or
            there is no GPU for cells that are to have one.
        PlanConflictError: Another experiment began at `out`, or is at work there.
        HolesError: Cells failed.
    """
    _check_gpus(machines)
    opened = Chips.open(chips)
    if opened.spec.legend is None:
        raise InvalidInputError(f"{chips}: these chips have no labels to learn from and judge by")
    split = split_chips(opened.chips, experiment.split)
    numbers = split.test if judged == "test" else split.validation
    if not numbers:
        raise InvalidInputError("--judged validation: the split keeps no chips for it")
    for count in experiment.labels:
        subset(split.train, count, 0)
    experiment = _judgeable(experiment, split, judged)
    _check_hidden(experiment, opened)
    plan = Plan(
        kind="experiment",
        stage_version=VERSION,
        arguments={
            "chips": opened.store.plan.digest,
            "split": experiment.split.model_dump(mode="json", exclude_none=True),
            "judged": judged,
        },
    )
    begin(out, plan)
    job = Job(
        experiment=experiment,
        chips=opened.path.resolve(),
        train=split.train,
        judged=numbers,
        validation=split.validation,
        out=out.resolve(),
        gpus=machines.gpus,
    )
    with running(out):
        try:
            return _all_units(job, machines, whole or experiment)
        finally:
            shutil.rmtree(job.cache, ignore_errors=True)


def _all_units(job: Job, machines: Machines, whole: Experiment) -> Summary:
    """Do every unit but those that need what failed, and write the tables of what is done."""
    systems, units = job.experiment.systems, cells(job.experiment)
    learning = [unit for unit in units if not systems[unit.system].ensemble]
    ensembles = [unit for unit in units if systems[unit.system].ensemble]
    steps: tuple[tuple[str, Callable[[], Sequence[Unit]]], ...] = (
        ("pretrain", lambda: encoders(job.experiment)),
        ("cells", lambda: _startable(job, learning)),
        ("members", lambda: _unkept(job, ensembles)),
        ("ensembles", lambda: _startable(job, ensembles)),
    )
    before, holes = _finished(job), []
    for label, planned in steps:
        try:
            _run(job, planned(), machines, label)
        except HolesError as told:
            holes.append(str(told))
    _publish(job, whole)
    outcomes = Ledger(journal(job.out)).outcomes
    known = [outcomes[unit.key].status for unit in units if unit.key in outcomes]
    if holes:
        waiting = f"{len(units) - len(known)} of {len(units)} cells wait for what failed"
        raise HolesError("\n".join([*holes, *([waiting] if len(known) < len(units) else [])]))
    now = {unit.key for unit in units} - before
    return Summary(known.count("done"), known.count("empty"), len(now))


def _finished(job: Job) -> frozenset[str]:
    return Ledger(journal(job.out)).finished


def _startable(job: Job, units: Sequence[CellUnit]) -> list[CellUnit]:
    """Return units of which everything is there that they learn from."""
    finished = _finished(job)
    return [unit for unit in units if {one.key for one in _needed(job, unit)} <= finished]


def _needed(job: Job, unit: CellUnit) -> Iterator[EncoderUnit | CellUnit]:
    encoder = job.encoder(unit.system, unit.seed)
    if encoder is not None:
        yield encoder
    yield from _members(job, unit)


def _members(job: Job, unit: CellUnit) -> Iterator[CellUnit]:
    for name in job.experiment.systems[unit.system].ensemble:
        yield CellUnit.of(job.experiment, name, unit.labels, unit.seed)


def _unkept(job: Job, ensembles: Sequence[CellUnit]) -> list[MemberUnit]:
    """Return members that must learn again, as ensembles to come need what they say."""
    finished = _finished(job)
    to_come = (unit for unit in _startable(job, ensembles) if unit.key not in finished)
    members = dict.fromkeys(one for unit in to_come for one in _members(job, unit))
    return [MemberUnit(cell=one) for one in members if not job.probabilities(one).exists()]


def encoders(experiment: Experiment) -> tuple[EncoderUnit, ...]:
    """Return every pretraining that a system of the experiment needs."""
    counts: dict[str, int] = {}
    for name in experiment.systems:
        pretrained = experiment.encoder_system(name)
        if pretrained is not None:
            count = min(experiment.encoder_seeds, experiment.seeds_of(name))
            counts[pretrained] = max(counts.get(pretrained, 0), count)
    return tuple(
        EncoderUnit.of(experiment, name, seed)
        for name, count in counts.items()
        for seed in range(count)
    )


def cells(experiment: Experiment) -> tuple[CellUnit, ...]:
    """Return every cell, seed by seed, so that an unfinished run is a whole one of fewer seeds."""
    versions = {name: experiment.version(name) for name in experiment.systems}
    return tuple(
        CellUnit(system=name, version=versions[name], labels=count, seed=seed)
        for seed in range(max(map(experiment.seeds_of, experiment.systems)))
        for count in experiment.labels
        for name in experiment.systems
        if seed < experiment.seeds_of(name) and count in experiment.labels_of(name)
    )


def _run(job: Job, units: Sequence[Unit], machines: Machines, label: str) -> None:
    stage = Stage(
        plan=lambda: units,
        prepare=lambda: None,
        run=partial(run_unit, job),
        publish=lambda _: None,
        memory=partial(_cell_bytes, job, len(Chips.open(job.chips).spec.bands)),
    )
    execute(stage, journal(job.out), machines, label)


def _cell_bytes(job: Job, bands: int) -> int:
    """Return about what the largest cell holds, most of it maps of networks that train."""
    systems = job.experiment.systems
    networks = [name for name in systems if systems[name].is_network and not job.gpus]
    return CELL_BYTES + max(
        (_step_bytes(job.experiment.study_of(name), bands) for name in networks), default=0
    )


def _step_bytes(study: Study, bands: int) -> int:
    """Return about what the largest step of a study keeps for its gradient, in float32."""
    features = study.features.layers * study.features.width
    # UniFeat sees bands in pairs, and no backbone.
    planes = [
        (one.schedule, 2 * features)
        if one.name == "unifeat"
        else (one.schedule, bands * features + maps_per_pixel(study.backbone))
        for one in study.pretexts
    ]
    planes.append((study.finetune.schedule, bands * features + maps_per_pixel(study.backbone)))
    return max(
        int(KEPT_PER_LAYER * 4 * count * schedule.patch**2 * schedule.batch / schedule.accumulate)
        for schedule, count in planes
    )


def _judgeable(
    experiment: Experiment, split: Split, judged: Literal["test", "validation"]
) -> Experiment:
    """Return an experiment without the systems that are calibrated on the chips that judge."""
    calibrated = [name for name, system in experiment.systems.items() if system.calibrated]
    names = ", ".join(calibrated)
    if calibrated and not split.validation:
        raise InvalidInputError(
            f"{names}: `calibrated` takes chips of `validation`; split some off"
        )
    if not calibrated or judged == "test":
        return experiment
    others = [
        name
        for name, system in experiment.systems.items()
        if not {name, *system.ensemble} & {*calibrated}
    ]
    if not others:
        raise InvalidInputError(f"--judged validation: {names} is calibrated on these chips")
    _log.warning("%s left out: calibrated on the chips of validation, which judge", names)
    return experiment.part(others)


def _check_hidden(experiment: Experiment, chips: Chips) -> None:
    for name, system in experiment.systems.items():
        if not system.judged_without:
            continue
        study = experiment.study_of(name)
        seen = [band.name for band in chosen_bands(chips, study.periods, study.inputs)]
        hidden_bands(seen, system.judged_without)


def _check_gpus(machines: Machines) -> None:
    if machines.gpus and machines.executor == "dask":
        raise InvalidInputError("--gpu: Dask hands out no GPUs; take --executor ray_tasks")
    if machines.gpus and machines.executor == "serial" and not torch.cuda.is_available():
        raise InvalidInputError("--gpu: torch finds no GPU on this machine; leave --gpu out")


def _publish(job: Job, whole: Experiment) -> None:
    """Write the tables of all systems of an experiment of which a cell is done."""
    outcomes = Ledger(journal(job.out)).outcomes
    known = whole.part(_measurable(whole))
    done = [
        outcomes[unit.key]
        for unit in cells(known)
        if unit.key in outcomes and outcomes[unit.key].status == "done"
    ]
    found = assessments(done, job)
    if not found:
        return
    shown = known.part([name for name in known.systems if name in {key[0] for key in found}])
    tables = markdown(shown, found, _details(shown, outcomes)) + _mixed(shown, done)
    write_whole(job.out / TABLES, tables.encode())
    rows = [{"key": "/".join(map(str, key)), **found[key].model_dump()} for key in found]
    write_whole(job.out / RESULTS, json.dumps(rows, indent=1).encode())
    write_whole(job.out / CURVE, curve_picture(shown, found, len(job.train)))
    made = [unit for unit in encoders(shown) if unit.seed == 0 and unit.key in outcomes]
    _publish_features(job, [unit for unit in made if outcomes[unit.key].status == "done"])


def _measurable(experiment: Experiment) -> list[str]:
    """Return the systems whose files are here, which tell one cell from another."""
    names = []
    for name in experiment.systems:
        try:
            experiment.version(name)
        except InvalidInputError as told:
            _log.debug("%s is not told of: %s", name, told)
        else:
            names.append(name)
    return names


def _mixed(experiment: Experiment, outcomes: Sequence[Outcome]) -> str:
    """Return a warning if networks may have learned in another precision than others."""
    systems = experiment.systems
    open_ones = {
        name
        for name in systems
        if systems[name].is_network
        and any(one.precision == "auto" for one in experiment.study_of(name).schedules)
    }
    halves = {
        outcome.evidence.get("has_bfloat16")
        for outcome in outcomes
        if outcome.key.split("/")[1].split("@")[0] in open_ones
    }
    if len(halves) < 2:  # noqa: PLR2004 - with, without, or unknown
        return ""
    return (
        "\nSome of these networks learned in bfloat16 and others in float32, or it is not known: "
        "`precision: auto`, on several machines.\n"
    )


def _publish_features(job: Job, units: Sequence[EncoderUnit]) -> None:
    """Write what pretrainings make of one chip that they are judged on."""
    if not units:
        return
    shown = Chips.open(job.chips, job.judged[:SHOWN])
    chip = job.judged[most_varied(shown.labels())]
    made = [(unit.system, job.out / unit.key) for unit in units]
    one = Chips.open(job.chips, (chip,))
    legend = Legend.model_validate(one.spec.legend)
    write_whole(job.out / FEATURES, feature_picture(panels(one, made), legend))


def _details(experiment: Experiment, outcomes: dict[str, Outcome]) -> dict[str, list[Detail]]:
    """Return the detail of the feature maps of each pretrained system, seed by seed."""
    found: dict[str, list[Detail]] = {}
    for unit in encoders(experiment):
        told = outcomes[unit.key].evidence if unit.key in outcomes else {}
        if "gradient" in told:
            detail = Detail(float(str(told["gradient"])), float(str(told["frequency"])))
            found.setdefault(unit.system, []).append(detail)
    return found


def assessments(outcomes: Sequence[Outcome], job: Job) -> dict[Key, Assessment]:
    """Return what the cells among outcomes found."""
    legend = Chips.open(job.chips).spec.legend
    found: dict[Key, Assessment] = {}
    for outcome in outcomes:
        text = outcome.evidence.get("assessment")
        if not isinstance(text, str):
            continue
        fields = json.loads(text)
        _, system, count, seed = outcome.key.split("/")
        scores = {**fields["scores"], "legend": legend}
        found[system.split("@")[0], count, int(seed)] = Assessment.model_validate(
            {**fields, "scores": scores}
        )
    return found
