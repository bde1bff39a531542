"""`ray-asr plan` as a Ray job: `ray job submit --working-dir . -- python jobs/plan.py …`."""

import sys

from ray_asr.cli import main

main(["plan", *sys.argv[1:]])
