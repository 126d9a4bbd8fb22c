"""Plugins: a module of a package, found by its file name."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from sscl_geo.errors import InvalidInputError


def names(package: str) -> tuple[str, ...]:
    """Return the names of all plugins of a package, sorted; nothing of it is imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{package} is no package of plugins")
    modules = pkgutil.iter_modules(spec.submodule_search_locations)
    return tuple(sorted(module.name for module in modules))


def find(package: str, name: str, option: str | None = None) -> ModuleType:
    """Return the plugin module `name` of `package`.

    Args:
        package: Where the plugins of its kind are.
        name: Its file name without the suffix.
        option: What the user calls the choice, for the error; the package's name if None.

    Raises:
        InvalidInputError: There is no such plugin. A plugin that exists but fails to import raises
            its own error, so that a broken plugin never looks like a missing one.
    """
    known = names(package)
    if name not in known:
        kind = option or package.rsplit(".", 1)[-1]
        raise InvalidInputError(f"{kind} {name!r}: unknown; choose one of {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def shipped(folder: str) -> Path:
    """Return a folder of files that come with the package, such as `catalogs`."""
    package = Path(__file__).parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder


def shipped_names(folder: str) -> str:
    """Return the names of the YAML files of a folder that comes with the package, as a list."""
    return ", ".join(sorted(path.stem for path in shipped(folder).glob("*.yaml")))


def shipped_file(folder: str, name: str, option: str) -> Path:
    """Return a YAML file that a user names: one that comes with the package, or a path.

    Raises:
        InvalidInputError: There is no such file; the message names `option`.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped(folder) / f"{name}.yaml"
    if not path.is_file():
        raise InvalidInputError(
            f"{option} {name!r}: no such file; choose one of {shipped_names(folder)}, or give a "
            "YAML file"
        )
    return path
