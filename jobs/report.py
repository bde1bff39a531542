"""`ray-asr report` as a Ray job: `ray job submit --working-dir . -- python jobs/report.py …`."""

import sys

from ray_asr.cli import main

main(["report", *sys.argv[1:]])
