"""`ray-asr export` as a Ray job: `ray job submit --working-dir . -- python jobs/export.py …`."""

import sys

from ray_asr.cli import main

main(["export", *sys.argv[1:]])
