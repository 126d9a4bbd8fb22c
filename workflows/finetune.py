"""`ray job submit -- python workflows/finetune.py …`: the same as `sscl-geo finetune …`."""

import sys

from sscl_geo.cli import main

sys.argv.insert(1, "finetune")
main()
