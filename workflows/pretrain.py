"""`ray job submit -- python workflows/pretrain.py …`: the same as `sscl-geo pretrain …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "pretrain")
main()
