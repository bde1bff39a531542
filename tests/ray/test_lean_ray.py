"""A Ray of one's own has no more processes than it needs; any other one is as Ray has it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_LOOK = """
import json, sys, time
import psutil, ray
from ray.data import ActorPoolStrategy
from ray_asr.job.pipeline import connect

class Double:
    def __call__(self, batch):
        return {"x": [2 * x for x in batch["id"]]}

def look():
    pool = ActorPoolStrategy(size=1)
    rows = ray.data.range(6).map_batches(Double, batch_size=2, num_cpus=1, compute=pool)
    numbers = sorted(row["x"] for row in rows.iter_rows())
    commands = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    running = [word for word in ("log_monitor.py", "monitor.py", "dashboard.py")
               if any(f"/{word}" in command for command in commands)]
    names = sorted(actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True))
    return {"numbers": numbers, "running": running, "actors": names}

connect("local")
own = look()
ray.shutdown()
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(json.dumps({"own": own, "other": look()}))
"""
_BOOKS = {"ActorLocationTracker", "AutoscalingCoordinator", "datasets_stats_actor"}


def test_processes_that_nobody_needs_are_left_out_of_ones_own_ray_alone() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=180, check=True
    )
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    assert found["own"]["numbers"] == found["other"]["numbers"] == [0, 2, 4, 6, 8, 10]
    assert found["own"]["actors"] == []
    assert found["own"]["running"] == []
    assert set(found["other"]["actors"]) >= _BOOKS
    assert found["other"]["running"] == ["log_monitor.py", "monitor.py", "dashboard.py"]
    assert "Error" not in ran.stderr
