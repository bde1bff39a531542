"""The embedded models measured in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ray_asr.engine.threads import thread_environment

# Measured beside a batch of a third size, in the same process: what the slope is for.
MEASURE = """
import json
from ray_asr.config import EngineConfig
from ray_asr.engine import footprint as module
from ray_asr.engine.funasr_engine import FunASREngine

config = EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1)
found = module.measure_footprint(config)
engine = FunASREngine(config)
before = module.private_memory_gb()
engine.load()
second_engine = module.private_memory_gb() - before
peak, _ = module._peaks(engine, 180.0, on_gpu=False)
print(json.dumps({**found.to_dict(), "peak": peak, "second_engine": second_engine}))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE],
        env={**os.environ, **thread_environment(1)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_embedded_recognizer_has_its_parameters(measured: dict[str, Any]) -> None:
    assert 2e6 < measured["parameters"] < 3e6
    assert measured["precision"] in ("int8", "fp32")


def test_memory_is_that_of_a_process_with_torch_and_small_models(measured: dict[str, Any]) -> None:
    assert 0.1 < measured["memory_gb"] < 2.0
    assert 0.1 < measured["loading_gb"] < 2.0
    assert measured["load_s"] > 0
    assert measured["gpu_memory_gb"] == measured["gpu_gb_per_padded_s"] == 0.0


def test_a_batch_takes_memory_by_its_padded_seconds(measured: dict[str, Any]) -> None:
    # 16,000 float32 samples are 64 kB, and features, layers and scores come to some of that.
    assert 1e-5 < measured["gb_per_padded_s"] < 5e-3


def test_a_larger_batch_takes_what_the_slope_says(measured: dict[str, Any]) -> None:
    said = measured["memory_gb"] + 180.0 * measured["gb_per_padded_s"]
    assert measured["peak"] == pytest.approx(said + measured["second_engine"], rel=0.15)
