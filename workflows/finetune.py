"""`ray job submit --working-dir workflows -- python finetune.py …`, as `sscl-geo finetune …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "finetune")
main()
