"""`ray-asr compact` by `ray job submit --working-dir . -- python jobs/compact.py …`."""

import sys

from ray_asr.cli import main

main(["compact", *sys.argv[1:]])
