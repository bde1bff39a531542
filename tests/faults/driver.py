"""The job that the kills are about: `python -m tests.faults.driver SOURCE OUTPUT ADDRESS`.

The real pipeline, with an engine that takes its time; in a process of its own, to be killed.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.errors import RayAsrError
from ray_asr.job.pipeline import transcribe_path
from ray_asr.schema import Recognition, Waveform
from tests.fakes import FakeEngine

ROW_S = 0.06  # in the recognizer


class SlowEngine(FakeEngine):
    """The fake engine at the pace of a real one."""

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        time.sleep(ROW_S * len(waveforms))
        return super().recognize(waveforms)


def make_engine(_: EngineConfig) -> SlowEngine:
    return SlowEngine()


# One-second rows in units of six; chunks of four rows.
SETTINGS = {
    "model": "demo", "vad_model": "demo", "punc_model": "demo", "unit_mb": 0.2, "ncpu": 1,
    "batch_size_s": 2.0, "max_single_segment_time": 2000, "num_actors": 2, "autoscale": False,
    "vary_batch": False, "sample_interval_s": 5.0,
}  # fmt: skip


def main() -> None:
    source, output, address = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = with_settings(Config(), SETTINGS)
    try:
        transcribe_path(source, output, config, address, make_engine)
    except RayAsrError as error:
        logging.error("%s", error)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
