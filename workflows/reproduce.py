"""`ray job submit --working-dir workflows -- python reproduce.py …`, as `sscl-geo experiment …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "experiment")
main()
