"""`sscl-geo`: one command a step; each parses, calls one function, and prints one line."""

import typer

from sscl_geo.cli import data, judging, learning, looking, mapping, upkeep
from sscl_geo.errors import reported
from sscl_geo.io.gdal import set_environment

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Land-cover maps from Sentinel-1/2, few labels.",
)
for part in (data, learning, mapping, judging, looking, upkeep):
    app.add_typer(part.app)


def main() -> None:
    """Run the command; a failure of the user's kind is one line and exit code 1 or 2."""
    set_environment()
    with reported():
        app()
