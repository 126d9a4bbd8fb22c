"""What can go wrong for a user, each with one line that says what to do."""

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from sscl_geo.redaction import keep_secrets_out_of_logs, without_secrets

EXTRAS = {
    "train": ("torch", "ray", "tensorboardX", "skimage"),
    "dask": ("cryptography", "dask", "distributed"),
    "demo": ("jinja2", "matplotlib", "PIL", "sklearn", "starlette", "uvicorn"),
}
"""Modules that each extra of the package installs."""

DISK_FAULTS = (
    *(errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENAMETOOLONG, errno.ENOSPC),
    *(errno.EPERM, errno.EROFS),
)
"""What an operating system refuses for reasons that only the user can mend."""

MISPLACED = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY)
"""What it refuses because something else stands at a place: a folder, or a file for a folder."""


class SsclGeoError(Exception):
    """A failure that the user can understand and act on; its text is one line."""

    exit_code = 2


class InvalidInputError(SsclGeoError):
    """An argument or a file breaks a rule; the message names the value, the rule and the remedy."""


class CatalogError(SsclGeoError):
    """A catalogue could not be reached, or answered with something that is not STAC.

    Attributes:
        is_passing: Whether the same question may be answered later, as far as the failure tells.
    """

    def __init__(self, message: str, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class NoSceneError(SsclGeoError):
    """A search found too little to make a cube of."""


class UntrustedHrefError(SsclGeoError):
    """An address in catalogue content points to where its catalogue may not send us."""


class PlanConflictError(SsclGeoError):
    """A store at the output path was made by another plan."""


class ReadError(SsclGeoError):
    """A raster could not be read.

    Attributes:
        is_permanent: Whether the same read will fail again, as far as the failure tells.
    """

    exit_code = 1

    def __init__(self, message: str, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class StoreError(SsclGeoError):
    """A store could not be reached, or refused to be read or written."""

    exit_code = 1


class HolesError(SsclGeoError):
    """A run ended with units that failed; the same command tries only these again."""

    exit_code = 1


class ClusterError(SsclGeoError):
    """The machines that ran units were lost; the same command goes on where it stopped."""

    exit_code = 1


class TrainingError(SsclGeoError):
    """Training stopped before its last epoch; the message says whether the same command goes on."""

    exit_code = 1


def brief(error: BaseException) -> str:
    """Return what an error says as one short line, or its kind if it says nothing."""
    text = without_secrets(str(error)).strip() or type(error).__name__
    return text.splitlines()[0].encode("utf-8", "replace").decode()[:200]


@contextmanager
def readable(what: str, kind: type[SsclGeoError] = InvalidInputError) -> Iterator[None]:
    """Tell in one line that something cannot be read, whatever a library says of damaged bytes.

    Args:
        what: Names it.
        kind: The error raised; errors of the user's kind pass as they are, and so do those of the
            machine, whose memory is short or whose disk is closed.
    """
    try:
        yield
    except (SsclGeoError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            raise
        raise kind(f"{what} cannot be read, it is damaged: {brief(error)}") from None


@contextmanager
def reported() -> Iterator[None]:
    """Print an error of the user's kind as one line on stderr and exit with its code.

    So is a missing extra of the package, a disk that is full or closed to us, and a place that is
    taken. Any other error is a mistake of ours: its traceback is printed, without secrets.
    """
    keep_secrets_out_of_logs()
    try:
        yield
    except SsclGeoError as error:
        _end(f"error: {without_secrets(str(error))}", error.exit_code)
    except ModuleNotFoundError as error:
        extra = _extra(error.name or "")
        if extra is None:
            _end(without_secrets(traceback.format_exc()), 1)
        _end(
            f"error: this command needs {error.name}, which is not installed; "
            f"in your checkout: pip install -e '.[{extra}]'",
            2,
        )
    except OSError as error:
        if error.errno not in (*DISK_FAULTS, *MISPLACED):
            _end(without_secrets(traceback.format_exc()), 1)
        # Of a renaming, the second is the name that the user knows.
        name = error.filename2 or error.filename
        where = f": {name}" if name else ""
        _end(f"error: {error.strerror}{where}; mend that, and run the same command again", 1)
    except Exception:  # noqa: BLE001 - the traceback is shown
        _end(without_secrets(traceback.format_exc()), 1)


def _extra(module: str) -> str | None:
    """Return the extra that installs a module, if one does."""
    package = module.partition(".")[0]
    return next((name for name, modules in EXTRAS.items() if package in modules), None)


def _end(told: str, exit_code: int) -> NoReturn:
    print(told.rstrip(), file=sys.stderr)  # noqa: T201 - this is the user's terminal
    raise SystemExit(exit_code) from None
