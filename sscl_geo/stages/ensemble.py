"""Several models as one, which says the mean of what they say.

A deep ensemble (Lakshminarayanan et al. 2017, arXiv 1612.01474): networks that learned the same
from other first weights err in other places, and where they disagree, their mean is less sure.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.bundle import CARD, Bundle, read_card, read_weights, write_bundle
from sscl_geo.io.making import begin
from sscl_geo.io.plan import Plan
from sscl_geo.runtime.gang import running

VERSION = 1

SHARED = ("network", "legend", "window", "halo")
"""What members must have in common."""


def ensemble(models: Sequence[Path], out: Path) -> Bundle:
    """Write one bundle of several finetuned models; the same command goes on after a kill.

    Args:
        models: Bundles of models that differ in their weights alone.
        out: Folder of the new bundle.

    Raises:
        InvalidInputError: There are fewer than two models, one cannot map, is calibrated or given
            twice, they differ in more than their weights, or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
    """
    if len(models) < 2:  # noqa: PLR2004
        raise InvalidInputError("--model: an ensemble needs two models or more")
    cards = [read_card(model) for model in models]
    for model, card in zip(models, cards, strict=True):
        _check(model, card, models[0], cards[0])
    digests = [card.weights_sha256 for card in cards]
    if len({*digests}) < len(digests):
        raise InvalidInputError(
            "--model: two have the same weights; train each with another --seed"
        )
    weights = {
        f"members.{number}.{name}": array
        for number, (model, card) in enumerate(zip(models, cards, strict=True))
        for name, array in read_weights(model, card).items()
    }
    together = cards[0].replace(
        members=len(cards),
        training={"members": [card.training for card in cards]},
        history=_history(cards),
    )
    if begin(out, _plan(cards)) and (out / CARD).exists():
        return read_card(out)
    with running(out):
        return write_bundle(out, together, weights)


def _plan(cards: Sequence[Bundle]) -> Plan:
    members: list[JsonValue] = [card.digest for card in cards]
    return Plan(kind="model", stage_version=VERSION, arguments={"members": members})


def _history(cards: Sequence[Bundle]) -> list[dict[str, JsonValue]]:
    """Return every epoch once: those of an encoder that all share, and each member's own."""
    first, *others = cards
    shared = [entry for entry in first.history if all(entry in one.history for one in others)]
    own = [
        {**entry, "phase": f"{entry['phase']} {number}"}
        for number, card in enumerate(cards, 1)
        for entry in card.history
        if entry not in shared
    ]
    return [*shared, *own]


def _check(model: Path, card: Bundle, first: Path, other: Bundle) -> None:
    if card.kind != "model" or card.members > 1:
        what = "an encoder" if card.kind != "model" else "an ensemble itself"
        raise InvalidInputError(f"--model {model}: is {what}; give models of one network each")
    if card.temperature != 1:
        raise InvalidInputError(
            f"--model {model}: is calibrated alone; take the model that it was made of, and "
            "calibrate the ensemble"
        )
    others = [name for name in SHARED if getattr(card, name) != getattr(other, name)]
    if others:
        raise InvalidInputError(
            f"--model {model}: has another {' and '.join(others)} than {first} (its bands may be "
            "scaled on other imagery); take models of one study and imagery that differ in --seed"
        )
