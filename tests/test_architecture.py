from pathlib import Path
from types import ModuleType

import pytest

import sscl_geo
from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.sensor import Sensor

PACKAGE = Path(sscl_geo.__file__).parent
VAGUE = {"utils", "common", "helpers", "base", "misc", "core"}
NAMED_AFTER_A_METHOD = {"learn/pretext/core.py"}

NEEDS = {
    "sscl_geo.sensors": ("SENSOR",),
    "sscl_geo.ops.compositors": ("JOINT", "BY_QUALITY", "composite"),
    "sscl_geo.ops.despeckle": ("despeckle",),
    "sscl_geo.io.chipsets": ("chip_source",),
    "sscl_geo.learn.backbones": ("build",),
    "sscl_geo.learn.init": ("Settings", "settle", "name", "prepare"),
    "sscl_geo.learn.pretext": ("Settings", "build"),
    "sscl_geo.runtime.executors": ("execute", "worker_bytes"),
    "sscl_geo.runtime.gangs": ("run", "session"),
}
READERS = "sscl_geo.io.readers"


def all_plugins(package: str) -> list[ModuleType]:
    return [plugins.find(package, name) for name in plugins.names(package)]


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.stem in VAGUE and (path.is_dir() or path.suffix == ".py")
    }
    assert vague <= NAMED_AFTER_A_METHOD


@pytest.mark.parametrize("package", [*NEEDS, READERS])
def test_every_kind_of_plugin_has_one_that_is_found(package: str) -> None:
    assert plugins.names(package)


@pytest.mark.parametrize("package", NEEDS)
def test_every_plugin_has_what_its_kind_needs(package: str) -> None:
    for module in all_plugins(package):
        lacking = [name for name in NEEDS[package] if not hasattr(module, name)]
        assert not lacking, module.__name__


def test_every_reader_has_a_class_that_reads() -> None:
    for module in all_plugins(READERS):
        readers = [v for n, v in vars(module).items() if n.endswith("Reader")]
        assert [reader for reader in readers if callable(getattr(reader, "read", None))]


def test_every_sensor_is_named_like_its_file_and_has_arrays_of_its_own() -> None:
    names = plugins.names("sscl_geo.sensors")
    sensors: list[Sensor] = [module.SENSOR for module in all_plugins("sscl_geo.sensors")]
    assert tuple(sensor.name for sensor in sensors) == names
    assert len({sensor.array for sensor in sensors}) == len(sensors)


def test_an_unknown_plugin_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"sensors 'landsat': .*sentinel2_l2a"):
        plugins.find("sscl_geo.sensors", "landsat")


def test_a_plugin_with_a_missing_dependency_does_not_look_like_a_missing_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "lame.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.names("broken_plugins") == ("lame",)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        plugins.find("broken_plugins", "lame")


def test_a_shipped_file_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: own\n")
    assert plugins.shipped_file("catalogs", "generic", "--profile").name == "generic.yaml"
    assert plugins.shipped_file("catalogs", str(own), "--profile") == own
    with pytest.raises(InvalidInputError, match=r"--profile 'atlantis'.*generic"):
        plugins.shipped_file("catalogs", "atlantis", "--profile")


def test_a_package_that_is_none_has_no_plugins_to_list() -> None:
    for name in ("sscl_geo.sensor", "sscl_geo.errors"):
        with pytest.raises(ModuleNotFoundError, match=f"{name} is no package of plugins"):
            plugins.names(name)
