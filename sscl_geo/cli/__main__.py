"""`python -m sscl_geo.cli` is `sscl-geo`."""

from sscl_geo.cli import main

if __name__ == "__main__":
    main()
