"""`ray-asr demo` as a Ray job: `ray job submit --working-dir . -- python jobs/demo.py`."""

import sys

from ray_asr.cli import main

main(["demo", *sys.argv[1:]])
