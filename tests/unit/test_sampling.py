from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_asr.control.monitor import NODE_GAUGES, RUN_GAUGES, SAMPLES_SCHEMA
from ray_asr.control.sampling import Sampler

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "ray_asr.json"


def test_a_busy_process_is_seen_in_the_machine_and_among_the_actors() -> None:
    title = f"asr-test-{os.getpid()}"
    busy = subprocess.Popen([sys.executable, "-c", f"title = '{title}'\nwhile True: pass"])
    try:
        time.sleep(0.5)
        sampler = Sampler(title, ncpu=1.0)
        time.sleep(2.0)
        sample = sampler.sample()
    finally:
        busy.kill()
        busy.wait()
    cores = len(os.sched_getaffinity(0))
    assert sample.actors == 1
    assert sample.busy_share is not None
    assert 0.1 < sample.busy_share <= 1.0
    assert sample.actors_cpu_percent == pytest.approx(100 * sample.busy_share / cores, rel=0.01)
    assert sample.actors_cpu_percent <= sample.cpu_percent + 5 <= 105
    assert 0 < sample.memory_share < 1


def test_an_actor_that_ends_is_no_longer_counted() -> None:
    title = f"asr-test-end-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-c", f"title = '{title}'\nimport time; time.sleep(60)"]
    )
    time.sleep(0.3)
    sampler = Sampler(title, ncpu=1.0)
    assert sampler.sample().actors == 1
    process.kill()
    process.wait()
    sample = sampler.sample()
    assert sample.actors == 0
    assert sample.busy_share is None


def test_the_dashboard_asks_for_the_metrics_that_there_are() -> None:
    asked = set(re.findall(r"ray_asr_(\w+)", DASHBOARD.read_text(encoding="utf-8")))
    assert asked == {*NODE_GAUGES, *RUN_GAUGES}


def test_every_metric_of_a_sample_is_a_column() -> None:
    assert set(SAMPLES_SCHEMA.names) == {"time_s", "node", *NODE_GAUGES, *RUN_GAUGES}
