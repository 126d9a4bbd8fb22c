"""`python workflows/map.py …`: the same as `sscl-geo map …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "map")
main()
