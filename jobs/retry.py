"""`ray-asr retry` by `ray job submit --working-dir . -- python jobs/retry.py …`."""

import sys

from ray_asr.cli import main

main(["retry", *sys.argv[1:]])
