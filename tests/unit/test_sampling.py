from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_asr.control.monitor import NODE_GAUGES, PART_GAUGES, RUN_GAUGES, SAMPLES_SCHEMA
from ray_asr.control.sampling import Sampler, core_groups

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "ray_asr.json"


def test_a_busy_process_is_seen_in_the_machine_and_among_the_actors() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        sampler = Sampler(ncpu=1.0)
        assert sampler.sample([busy.pid]).actors == 1
        time.sleep(2.0)
        sample = sampler.sample([busy.pid])
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
    (alone,) = sample.actors_busy
    assert (alone.actor, alone.busy_share) == (str(busy.pid), sample.busy_share)
    assert all(0 <= group.cpu_percent <= 100 for group in sample.core_groups)
    assert max(group.cpu_percent for group in sample.core_groups) >= sample.cpu_percent - 1e-6


def test_two_actors_are_told_apart() -> None:
    works, waits = (
        subprocess.Popen([sys.executable, "-c", what])
        for what in ("while True: pass", "import time; time.sleep(60)")
    )
    try:
        sampler = Sampler(ncpu=1.0)
        time.sleep(1.0)  # waiting begins with the interpreter's start
        sampler.sample([works.pid, waits.pid])
        time.sleep(2.0)
        sample = sampler.sample([works.pid, waits.pid])
    finally:
        for process in (works, waits):
            process.kill()
            process.wait()
    shares = {one.actor: one.busy_share for one in sample.actors_busy}
    assert shares.keys() == {str(works.pid), str(waits.pid)}
    assert shares[str(works.pid)] > 0.1 > shares[str(waits.pid)]
    assert sample.busy_share == pytest.approx(sum(shares.values()) / 2)


def test_an_actor_that_ends_is_no_longer_counted() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    sampler = Sampler(ncpu=1.0)
    assert sampler.sample([process.pid]).actors == 1
    process.kill()
    process.wait()
    for _ in range(2):
        sample = sampler.sample([process.pid])
        assert sample.actors == 0
        assert sample.busy_share is None
        assert sample.actors_busy == ()


def test_cores_are_grouped_by_the_memory_near_to_them(tmp_path: Path) -> None:
    for number, cpus in {0: "0-3,8", 1: "4-7", 10: "9", 2: "30-31"}.items():
        folder = tmp_path / f"node{number}"
        folder.mkdir()
        (folder / "cpulist").write_text(f"{cpus}\n")
    assert core_groups([0, 3, 5, 8, 9], tmp_path) == {
        "numa0": [0, 3, 8], "numa1": [5], "numa10": [9],
    }  # fmt: skip


@pytest.mark.parametrize("said", [None, "", "nonsense", "0-1"])
def test_cores_of_a_machine_that_does_not_say_are_one_group(
    tmp_path: Path, said: str | None
) -> None:
    if said is not None:
        (tmp_path / "node0").mkdir()
        (tmp_path / "node0" / "cpulist").write_text(said)
    assert core_groups([0, 1, 2], tmp_path) == {"numa0": [0, 1, 2]}


def test_the_dashboard_asks_for_the_metrics_that_there_are() -> None:
    asked = set(re.findall(r"ray_asr_(\w+)", DASHBOARD.read_text(encoding="utf-8")))
    assert asked == {*NODE_GAUGES, *PART_GAUGES, *RUN_GAUGES}


def test_every_metric_of_a_sample_is_a_column() -> None:
    parts = {column for column, _, _ in PART_GAUGES.values()}
    assert set(SAMPLES_SCHEMA.names) == {"time_s", "node", *NODE_GAUGES, *parts, *RUN_GAUGES}
