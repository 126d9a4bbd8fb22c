"""One file per way to set a network's weights before any training."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from sscl_geo import plugins
from sscl_geo.frozen import Frozen, parse
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.study import Study


def settled(study: Study) -> Study:
    """Return a study whose init names its files by absolute path and digest.

    Raises:
        InvalidInputError: There is no such plugin, its settings do not fit, or a file is absent.
    """
    init = study.init
    plugin: Any = plugins.find(__name__, init.name)
    kind: type[Frozen] = plugin.Settings
    found: Frozen = plugin.settle(parse(kind, init.settings, f"settings of init {init.name}"))
    return study.replace(init={"name": init.name, "settings": found.model_dump(mode="json")})


def named(study: Study) -> Study:
    """Return a settled study whose init names its files by name and digest, wherever they stand."""
    plugin: Any = plugins.find(__name__, study.init.name)
    kind: type[Frozen] = plugin.Settings
    found: Frozen = plugin.name(parse(kind, study.init.settings, "settings of init"))
    return study.replace(init={"name": study.init.name, "settings": found.model_dump(mode="json")})


def initialise(encoder: Encoder, name: str, settings: Mapping[str, JsonValue]) -> None:
    """Set an encoder's weights by an init plugin.

    Raises:
        InvalidInputError: There is no such plugin, or its settings do not fit.
    """
    plugin: Any = plugins.find(__name__, name)
    kind: type[Frozen] = plugin.Settings
    plugin.prepare(encoder, parse(kind, settings, f"settings of init {name}"))
