"""`ray-asr pack` as a Ray job: `ray job submit --working-dir . -- python jobs/pack.py …`."""

import sys

from ray_asr.cli import main

main(["pack", *sys.argv[1:]])
