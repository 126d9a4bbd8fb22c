"""What a model learns from, and what fits together."""

from collections.abc import Sequence
from pathlib import Path

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import Place
from sscl_geo.geo.inputs import log_offset
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import Bundle
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import Imagery, absolute, check_stored_alike, gsd, opened
from sscl_geo.io.location import Location
from sscl_geo.io.taught import taught
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.learn.tuning import check_compiler
from sscl_geo.runtime.gang import Ranks
from sscl_geo.sensors import sensor_of


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
        validation: Cubes or chips whose labels choose the epoch whose weights are kept.
        validation_labels: Labels stores on the validation's cubes' grids.
    """

    imagery: tuple[Selection, ...]
    labels: tuple[Location, ...] = ()
    encoder: Path | None = None
    study: Study
    unlabelled: tuple[Selection, ...] = ()
    statistics: tuple[Selection, ...] = ()
    validation: tuple[Selection, ...] = ()
    validation_labels: tuple[Location, ...] = ()


def shared_legend(imagery: Sequence[Imagery], labels: Sequence[Location], option: str) -> Legend:
    """Return the one legend of all labels, and let only what fits meet.

    Raises:
        InvalidInputError: Imagery and labels do not pair, or legends or grids differ.
    """
    if not imagery:
        raise InvalidInputError("nothing to learn from: give at least one cube, or chips")
    chips = [one for one in imagery if isinstance(one, Chips)]
    cubes = [one for one in imagery if not isinstance(one, Chips)]
    if (chips and cubes) or len(labels) != len(cubes):
        raise InvalidInputError(
            f"{len(imagery)} cubes and {len(labels)} labels: give as many {option} as cubes, in "
            "the same order; chips bring their own, and do not mix with cubes"
        )
    stores = [Classes.open(path, "labels") for path in labels]
    for cube, store in zip(cubes, stores, strict=True):
        store.check_grids(cube.spec.grids, cube.path)
    legends = [(one.path, one.spec.legend) for one in chips]
    legends += [(one.path, one.legend) for one in stores]
    for path, legend in legends:
        if legend is None:
            raise InvalidInputError(f"{path}: these chips have no labels; give ones that have")
        first = Legend.model_validate(legends[0][1])
        if not legend.is_like(first):
            raise InvalidInputError(
                f"{path} has another legend than {legends[0][0]}; make both with one"
            )
    return Legend.model_validate(legends[0][1])


def check_validation(
    request: FinetuneRequest, imagery: Sequence[Imagery], legend: Legend, names: Sequence[str]
) -> None:
    """Check that labels that choose the epoch fit those that teach, and are not the same.

    Whether two stores of labels on one cube overlap is not looked at.

    Raises:
        InvalidInputError: They do not fit, teach too, or there are none where they are needed.
    """
    if not request.validation:
        if request.validation_labels or request.study.finetune.patience is not None:
            raise InvalidInputError(
                "--validation-labels and the study's finetune.patience need --validation: imagery "
                "whose labels choose the epoch"
            )
        return
    others = [opened(selection) for selection in request.validation]
    if {type(one) for one in others} != {type(one) for one in imagery}:
        raise InvalidInputError(
            "--validation: chips and cubes do not mix; give what is of the training's kind"
        )
    stored = _stored(imagery[0], names)
    for one in others:
        if _stored(one, names) != stored:
            raise InvalidInputError(
                f"{one.path}: its bands are not stored as those of {imagery[0].path}; give a "
                "--validation of its kind"
            )
    theirs = shared_legend(others, request.validation_labels, "--validation-labels")
    if not theirs.is_like(legend):
        raise InvalidInputError(
            f"{others[0].path}: labels of --validation have another legend than those that teach"
        )
    if {*taught(imagery, request.labels)} & {*taught(others, request.validation_labels)}:
        raise InvalidInputError(
            f"--validation: {others[0].path} also teaches, or shares places with what does; give "
            "labels of other places"
        )


def check_unlabelled(
    request: FinetuneRequest, imagery: Sequence[Imagery], names: Sequence[str]
) -> None:
    """Check that imagery without labels, if only for statistics, is of the training's kind.

    Raises:
        InvalidInputError: It lacks a band, or stores one otherwise, or holds places of chips that
            choose the epoch.
    """
    stored = _stored(imagery[0], names)
    judging = {*taught([opened(selection) for selection in request.validation], ())}
    for selection in (*request.unlabelled, *request.statistics):
        other = opened(selection)
        if judging & {*taught([other], ())}:
            raise InvalidInputError(
                f"{other.path}: holds places that --validation judges by; give another part of it "
                "(--unlabelled-part)"
            )
        if type(other) is not type(imagery[0]) or _stored(other, names) != stored:
            raise InvalidInputError(
                f"{other.path}: is not stored as {imagery[0].path}, as chips and cubes are not; "
                "give what is of the training's kind"
            )


def _stored(imagery: Imagery, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the array and resolution of each band."""
    periods = 1 + max(Place.of(key).later for key in imagery.wanted(names))
    return {
        source.name: (source.place.key, gsd(imagery, source))
        for source in imagery.bands(periods)
        if source.name in names
    }


def check_numbers(request: FinetuneRequest, ranks: Ranks, network: NetworkSpec) -> None:
    """Check that numbers fit each other, before anything is written.

    Raises:
        InvalidInputError: They do not.
    """
    finetune = request.study.finetune
    finetune.schedule.check(ranks.ranks)
    finetune.settings.check(has_masks=network.has_masks)
    sensors = {band.name.partition(":")[0] for band in network.bands}
    if finetune.settings.withhold.sensor and len(sensors) == 1:
        raise InvalidInputError(
            f"finetune: withhold.sensor never leaves a network without its only sensor, "
            f"{min(sensors)}; withhold bands, or set it to 0"
        )
    has_teacher = bool(finetune.settings.teacher.weight)
    if has_teacher != bool(request.unlabelled):
        raise InvalidInputError(
            "--unlabelled and the study's finetune.settings.teacher.weight work only together; "
            "give both, or neither"
        )
    loss = finetune.settings.loss
    if finetune.sampling == "classes" and (loss.prior or loss.frequency):
        raise InvalidInputError(
            "finetune: sampling by classes draws them evenly, and loss.prior or loss.frequency "
            "would correct that once more; take one of these"
        )
    batch, world = finetune.settings.teacher.batch, max(ranks.ranks, 1)
    if has_teacher and batch % world:
        raise InvalidInputError(
            f"finetune: settings.teacher.batch {batch} must be a multiple of the {world} ranks"
        )
    if has_teacher and finetune.schedule.accumulate > 1:
        raise InvalidInputError(
            "finetune: accumulate does not go with a teacher, whose unlabelled samples would stand "
            "in parts of their own; set it to 1"
        )
    if ranks.compiles and ranks.address is None:
        check_compiler(has_gpu=ranks.gpus)


def network_of(encoder: Bundle, imagery: Sequence[Imagery], study: Study) -> NetworkSpec:
    """Return an encoder's network, if it fits the imagery and is what the study tells of.

    Raises:
        InvalidInputError: A band is missing, or stored otherwise, or the study names another
            network.
    """
    network = NetworkSpec.model_validate(encoder.network)
    for one in imagery:
        one.wanted([band.name for band in network.bands])
        check_stored_alike(one, network.bands)
    _check_study(network, study)
    return network


def _check_study(network: NetworkSpec, study: Study) -> None:
    told = study.network(network.bands, network.gsd)
    names = [band.name for band in network.bands]
    others = ["periods"] if study.periods != 1 + max(Place.of(name).later for name in names) else []
    # Each band by its sensor's name and its own, of which a study names one.
    known = [{name.partition(":")[0], name.partition("@")[0]} for name in names]
    wanted = {*study.inputs}
    if wanted and not (wanted <= set().union(*known) and all(wanted & one for one in known)):
        others.append("inputs")
    others += [
        name
        for name in ("features", "backbone", "has_masks")
        if getattr(told, name) != getattr(network, name)
    ]
    if any(
        (band.log_offset is None) != (log_offset(sensor_of(band.name), study.reflectance) is None)
        for band in network.bands
    ):
        others.append("reflectance")
    if others:
        raise InvalidInputError(
            f"--study: other {' and '.join(others)} than the encoder's; take the study that it "
            "was pretrained with, or pretrain again"
        )


def absolute_request(request: FinetuneRequest) -> FinetuneRequest:
    """Return a request whose paths any process finds."""
    return request.replace(
        imagery=tuple(absolute(selection) for selection in request.imagery),
        unlabelled=tuple(absolute(selection) for selection in request.unlabelled),
        statistics=tuple(absolute(selection) for selection in request.statistics),
        validation=tuple(absolute(selection) for selection in request.validation),
        validation_labels=tuple(path.resolve() for path in request.validation_labels),
        labels=tuple(path.resolve() for path in request.labels),
        encoder=None if request.encoder is None else request.encoder.resolve(),
    )
