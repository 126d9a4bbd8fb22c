"""`sscl-geo`: one command a step; each parses, calls one function, and prints one line."""

from typing import Annotated

import typer

from sscl_geo import __version__
from sscl_geo.cli import data, ingest, judging, learning, looking, mapping, upkeep
from sscl_geo.cli.options import PANELS
from sscl_geo.errors import reported
from sscl_geo.io.gdal import set_environment

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Land-cover maps from Sentinel-1 and Sentinel-2, with few labels.",
)
_PARTS = (ingest, data, learning, mapping, judging, upkeep, looking)
app.registered_commands = sorted(
    (command for part in _PARTS for command in part.app.registered_commands),
    key=lambda command: PANELS.index(command.rich_help_panel),
)
app.registered_groups = [group for part in _PARTS for group in part.app.registered_groups]


def _version(is_asked: bool) -> bool:
    if is_asked:
        print(f"sscl_geo {__version__}")
        raise typer.Exit
    return is_asked


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command; a failure of the user's kind is one line and exit code 1 or 2."""
    set_environment()
    with reported():
        app()
