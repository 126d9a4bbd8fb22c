"""`ray job submit -- python workflows/reproduce.py EXPERIMENT …`: as `sscl-geo experiment …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "experiment")
main()
