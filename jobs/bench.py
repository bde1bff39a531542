"""`ray-asr bench` by `ray job submit --working-dir . -- python jobs/bench.py`."""

import sys

from ray_asr.cli import main

main(["bench", *sys.argv[1:]])
