"""Which maps may be compared with each other."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.cubes import Classes

SAME: Final = ("model", "temperature", "legend", "window", "halo")
ASKED: Final = ("has_flips", "has_gpu")
"""What of a map's `inference` changes its classes."""


def check_comparable(before: Classes, after: Classes) -> None:
    """Check that two maps are of one model on one grid.

    Raises:
        InvalidInputError: One was not made by a model, the models, how they were asked or the grids
            differ, or both are the same map; the message names what differs.
    """
    _check_model(before, after)
    _check_grids(before, after)


def _check_model(before: Classes, after: Classes) -> None:
    old, new = _made_by(before), _made_by(after)
    for key, value in old.items():
        if new[key] != value:
            raise InvalidInputError(
                f"--before {before.path} and --after {after.path} are not comparable: {key} is "
                f"{value} in the one and {new[key]} in the other; map both with the same model and "
                "options, or the change would be one of models"
            )
    if before.store.plan.digest == after.store.plan.digest:
        raise InvalidInputError(f"--before {before.path} and --after {after.path} are the same map")


def _made_by(mapped: Classes) -> dict[str, JsonValue]:
    told = mapped.store.plan.arguments
    if "model" not in told:
        raise InvalidInputError(
            f"{mapped.path} was not made by a model with sscl-geo map, so its classes cannot be "
            "compared with another map's"
        )
    asked = told.get("inference")
    inference: Mapping[str, JsonValue] = asked if isinstance(asked, dict) else {}
    return {
        **{key: told.get(key) for key in SAME},
        **{key: inference.get(key, False) for key in ASKED},
    }


def _check_grids(before: Classes, after: Classes) -> None:
    old, new = _ground(before), _ground(after)
    if old == new:
        return
    zone = next(name for name in sorted({*old, *new}) if old.get(name) != new.get(name))
    raise InvalidInputError(
        f"--before {before.path} and --after {after.path} lie on different grids: {zone} has "
        f"{old.get(zone, 'no pixels')} in the one and {new.get(zone, 'no pixels')} in the other; "
        "ingest both cubes with the same --bbox or --region and --grid"
    )


def _ground(mapped: Classes) -> dict[str, str]:
    return {
        grid.zone: f"origin {grid.origin}, shape {grid.shape}, ground {grid.owns or 'all'}"
        for grid in mapped.grids
    }
