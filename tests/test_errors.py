import errno
import pickle
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from sscl_geo.errors import EXTRAS, ReadError, readable, reported
from sscl_geo.io.disk import Disk, write_whole

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_a_read_error_comes_from_a_worker_as_it_was() -> None:
    sent = pickle.dumps(ReadError("a.tif cannot be read", is_permanent=True))
    error = pickle.loads(sent)  # noqa: S301 - our own
    assert str(error) == "a.tif cannot be read"
    assert error.is_permanent


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_of_an_extra_are_those_that_it_installs(extra: str) -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    named = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in extras[extra]}
    owners = packages_distributions()
    assert {owners[module][0].lower() for module in EXTRAS[extra]} == named


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ModuleNotFoundError("no", name="torch.nn"), 2, "pip install -e '.[train]'"),
        (ModuleNotFoundError("no", name="distributed"), 2, "pip install -e '.[dask]'"),
        (OSError(errno.ENOSPC, "No space left on device", "a.zarr"), 1, "on device: a.zarr"),
    ],
)
def test_what_only_the_user_can_mend_is_one_line(
    error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise error
    said = capsys.readouterr().err
    assert ended.value.code == code
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert told in said


def whole(path: Path) -> None:
    write_whole(path, b"new")


def file(path: Path) -> None:
    with Disk().new_file(str(path)) as pending:
        pending.write_bytes(b"new")


def folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (whole, "folder"),
        (whole, "file/x.csv"),
        (file, "folder"),
        (folder, "file"),
        (folder, "file/x"),
    ],
)
def test_a_place_that_is_taken_is_told_by_its_name(
    tmp_path: Path, write: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit) as ended, reported():
        write(tmp_path / name)
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert re.fullmatch(f"error: [A-Z].*: {tmp_path}/{Path(name).parts[0]}.*; mend .*\n", said)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "folder"]


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("no", name="ours"), OSError(errno.ENOENT, "none"), KeyError("x")]
)
def test_what_is_our_mistake_is_a_traceback(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise error
    assert ended.value.code == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "too many open files")])
def test_a_fault_of_the_machine_is_not_called_damage(error: Exception) -> None:
    with pytest.raises(type(error)), readable("a.zarr"):
        raise error
