"""From a model to one whose confidence can be believed: a temperature, fitted on other labels."""

import logging
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import CARD, Bundle, read_card, read_weights, write_bundle
from sscl_geo.io.chips import Chips, Selection
from sscl_geo.io.cubes import Classes
from sscl_geo.io.fields import (
    Decoded,
    Imagery,
    check_stored_alike,
    identities,
    labelled,
    opened,
)
from sscl_geo.io.location import AnyLocation, location
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.io.taught import taught, taught_of
from sscl_geo.learn.batches import IGNORED
from sscl_geo.learn.checkpoint import load_weights
from sscl_geo.learn.network import Model, model_of
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.tuning import prepare_inference
from sscl_geo.ops.calibration import fitted_temperature
from sscl_geo.runtime.gang import CACHE, clear_run, running

_log = logging.getLogger(__name__)

VERSION = 1

MOST_PIXELS = 200_000
"""Labelled pixels that the temperature is fitted on, taken evenly."""


def calibrate(model: Path, imagery: Selection, labels: AnyLocation | None, out: Path) -> Bundle:
    """Write a bundle of the same weights with a temperature by which its logits are divided.

    The same command goes on after a kill, and finds what it made before.

    Args:
        model: Bundle of a finetuned model.
        imagery: A cube, or chips with labels of their own.
        labels: Labels on the cube's pixels that the model did not learn from; None for chips.
        out: Folder of the new bundle.

    Raises:
        InvalidInputError: The bundle cannot map, bands or legends do not fit, nothing is labelled,
            or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
    """
    bundle = read_card(model)
    if bundle.legend is None:
        raise InvalidInputError(f"{model} is an encoder; give a finetuned model")
    weights = read_weights(model, bundle)
    network = model_of(
        NetworkSpec.model_validate(bundle.network), len(bundle.legend.classes), bundle.members
    )
    load_weights(network, weights, str(model))
    prepare_inference(network, "cpu")
    source = opened(imagery)
    _check(model, bundle.legend, network, source, labels)
    _warn_of_taught(model, bundle, source, labels)
    if begin(out, _plan(bundle, source, labels)) and (out / CARD).exists():
        clear_run(out)
        return read_card(out)
    with running(out):
        try:
            temperature = _temperature(network, bundle, source, labels, out / CACHE)
        except InvalidInputError:
            location(out).delete()
            raise
        training = {**bundle.training, "calibrated_on": (labels or source.path).name}
        sure = bundle.replace(temperature=temperature, training=training)
        written = write_bundle(out, sure, weights)
        clear_run(out)
    return written


def _check(
    model: Path, legend: Legend, network: Model, source: Imagery, labels: AnyLocation | None
) -> None:
    if labels and isinstance(source, Chips):
        raise InvalidInputError(
            f"--labels {labels}: the chips of {source.path} bring their own; leave it out"
        )
    check_stored_alike(source, network.encoder.spec.bands)
    told = source.spec.legend if isinstance(source, Chips) else _legend(labels)
    if told is not None and not told.is_like(legend):
        raise InvalidInputError(
            f"{labels or source.path} has another legend than {model}; make labels with that one"
        )


def _legend(labels: AnyLocation | None) -> Legend | None:
    return None if labels is None else Classes.open(labels, "labels").legend


def _warn_of_taught(
    model: Path, bundle: Bundle, source: Imagery, labels: AnyLocation | None
) -> None:
    if {*taught([source], [labels] if labels else [])} & taught_of(bundle.training):
        _log.warning(
            "%s taught %s, which is surer of it than of other ground: give labels of other places, "
            "or its confidence stays too high",
            labels or source.path,
            model,
        )


def _plan(bundle: Bundle, source: Imagery, labels: AnyLocation | None) -> Plan:
    store = None if labels is None else Classes.open(labels, "labels").store
    return Plan(
        kind="model",
        stage_version=VERSION,
        arguments={
            "calibrated": bundle.digest,
            "imagery": identities([source]),
            "labels": None if store is None else store.plan.digest,
        },
    )


def _temperature(
    network: Model, bundle: Bundle, source: Imagery, labels: AnyLocation | None, cache: Path
) -> float:
    """Return the temperature that fits labels best; bands are decoded into a folder."""
    names = [band.name for band in network.encoder.spec.bands]
    legend = Legend.model_validate(bundle.legend)

    def pieces() -> Iterator[_Piece]:
        return labelled([source], [labels] if labels else [], names, cache, legend)

    count = sum(int((classes != IGNORED).sum()) for _, classes in pieces())
    if not count:
        message = f"{labels or source.path}: no labelled pixel lies on what was observed"
        raise InvalidInputError(message)
    parts = [
        part
        for piece, classes in _thinned(pieces(), -(-count // MOST_PIXELS))
        for part in _known(network, piece, classes, bundle.window)
    ]
    logits, known = (np.concatenate(column) for column in zip(*parts, strict=True))
    return fitted_temperature(logits, known.astype(np.int64))


_Piece = tuple[Decoded, UInt8[np.ndarray, "y x"]]
"""An area, and the positions of its classes in the legend."""


def _thinned(pieces: Iterator[_Piece], step: int) -> Iterator[_Piece]:
    """Yield areas of whose labelled pixels, numbered through all, every `step`th is kept."""
    before = 0
    for piece, classes in pieces:
        places = np.flatnonzero(classes != IGNORED)
        kept = places[-before % step :: step]
        before += len(places)
        thin = np.full_like(classes, IGNORED)
        thin.flat[kept] = classes.flat[kept]
        yield piece, thin


def _known(
    network: Model, piece: Decoded, classes: UInt8[np.ndarray, "y x"], side: int
) -> Iterator[tuple[Float32[np.ndarray, "pixel class"], UInt8[np.ndarray, " pixel"]]]:
    """Yield the logits and classes of a piece's labelled pixels, window by window."""
    spec = network.encoder.spec
    factor = {name: bands[0].gsd // spec.gsd for name, bands in spec.arrays.items()}
    height, width = classes.shape
    for row, column in product(range(0, height, side), range(0, width, side)):
        # The last windows reach back, so that the network sees as much as in the others.
        top, left = max(min(row, height - side), 0), max(min(column, width - side), 0)
        here = classes[top : top + side, left : left + side].copy()
        here[: row - top], here[:, : column - left] = IGNORED, IGNORED
        if (here == IGNORED).all():
            continue
        stored = {
            name: torch.from_numpy(np.array(piece.arrays[name][:, *_part(top, left, side, f)]))
            for name, f in factor.items()
        }
        with torch.inference_mode():
            bands = network.encoder.normalise({n: array[None] for n, array in stored.items()})
            scores = network(bands.values, bands.is_absent)[0].float().numpy()
        yield scores[:, here != IGNORED].T, here[here != IGNORED]


def _part(top: int, left: int, side: int, factor: int) -> tuple[slice, slice]:
    y, x = (slice(s // factor, (s + side) // factor) for s in (top, left))
    return y, x
