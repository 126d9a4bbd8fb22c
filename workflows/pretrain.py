"""`ray job submit --working-dir workflows -- python pretrain.py …`, as `sscl-geo pretrain …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "pretrain")
main()
