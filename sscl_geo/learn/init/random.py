"""Random weights, as the layers draw them from the study's seed."""

from sscl_geo.frozen import Frozen
from sscl_geo.learn.network import Encoder


class Settings(Frozen):
    """Random weights have none."""


def settle(settings: Settings) -> Settings:
    """Return the settings."""
    return settings


def name(settings: Settings) -> Settings:
    """Return the settings."""
    return settings


def prepare(encoder: Encoder, settings: Settings) -> None:
    """Leave the weights as they were drawn."""
