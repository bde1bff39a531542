"""`ray-asr simulate` as a Ray job: `ray job submit --working-dir . -- python jobs/simulate.py`."""

import sys

from ray_asr.cli import main

main(["simulate", *sys.argv[1:]])
