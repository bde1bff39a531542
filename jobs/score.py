"""`ray-asr score` as a Ray job: `ray job submit --working-dir . -- python jobs/score.py …`."""

import sys

from ray_asr.cli import main

main(["score", *sys.argv[1:]])
