"""`python -m sscl_geo.ingest` is `sscl-geo ingest`."""

from sscl_geo.cli.ingest import app
from sscl_geo.errors import reported
from sscl_geo.io.gdal import set_environment


def main() -> None:
    """Run the command; a failure of the user's kind is one line and exit code 1 or 2."""
    set_environment()
    with reported():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
