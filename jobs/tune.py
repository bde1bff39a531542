"""`ray-asr tune` as a Ray job: `ray job submit --working-dir . -- python jobs/tune.py …`."""

import sys

from ray_asr.cli import main

main(["tune", *sys.argv[1:]])
