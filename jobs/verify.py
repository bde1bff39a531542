"""`ray-asr verify` by `ray job submit --working-dir . -- python jobs/verify.py …`."""

import sys

from ray_asr.cli import main

main(["verify", *sys.argv[1:]])
