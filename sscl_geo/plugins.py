"""Plugins: a module of a package, found by its file name."""

import importlib
import pkgutil
from types import ModuleType

from sscl_geo.errors import InvalidInputError


def names(package: str) -> tuple[str, ...]:
    """Return the names of all plugins of a package, sorted."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))


def find(package: str, name: str) -> ModuleType:
    """Return the plugin module `name` of `package`.

    Raises:
        InvalidInputError: There is no such plugin. A plugin that exists but fails to import raises
            its own error, so that a broken plugin never looks like a missing one.
    """
    known = names(package)
    if name not in known:
        kind = package.rsplit(".", 1)[-1]
        raise InvalidInputError(
            f"unknown name {name!r} in {kind}; choose one of {', '.join(known)}"
        )
    return importlib.import_module(f"{package}.{name}")
