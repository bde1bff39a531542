"""`ray-asr transcribe` by `ray job submit --working-dir . -- python jobs/transcribe.py`."""

import sys

from ray_asr.cli import main

main(["transcribe", *sys.argv[1:]])
