"""Nodes come and go with the pool, on Ray's autoscaler with its provider of nodes on one machine.

The same file is the driver: a process has one Ray, and the other tests have theirs.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest

from tests.ray.heads import ROOT, end_head, free_port, head_command

ROWS = 320
# A head with two CPUs, nodes of two: four actors of one and a CPU to read want two nodes more.
HEAD_CPUS, NODE_CPUS, MOST_NODES, MOST_ACTORS = 2, 2, 3, 4
# The name that Ray's provider gives its head; under another it starts heads without end.
HEAD_TYPE = "ray.head.default"
_GONE_AFTER_S = 90


def drive(address: str, enough: str) -> None:
    """A pool of 1, then 4, then 1 actors; says who did each row and the nodes at that time.

    Args:
        address: of the head.
        enough: a file that ends the waiting.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    from ray_asr.control.monitor import Monitor
    from ray_asr.control.pool_control import PoolControl
    from ray_asr.control.ray_adapter import install, remove
    from ray_asr.control.signals import Decision, Signals

    ray.init(address, logging_level="error", log_to_driver=False)
    told: list[Signals] = []
    late = time.monotonic() + 240

    class Policy:
        """One actor, four until they are all there, one again; however slow the machine is."""

        def __init__(self) -> None:
            self._full_at: int | None = None

        def decide(self, signals: Signals) -> Decision:
            told.append(signals)
            done = signals.chunks_done or 0
            if self._full_at is None and signals.running == MOST_ACTORS:
                self._full_at = done
            grown = self._full_at is not None and done > self._full_at + 12
            return Decision(1 if done < 4 or grown else MOST_ACTORS, "the test says so")

    class Ours:
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            if not os.path.exists(enough):
                time.sleep(1.0)
            node = ray.get_runtime_context().get_node_id()
            return {**batch, "node": [node] * len(batch["id"])}

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    control = PoolControl(Policy, "Ours", num_cpus=1.0, cores=2.0, period_s=0.2)
    assert install(context, control)
    pool = ActorPoolStrategy(
        min_size=1, max_size=MOST_ACTORS, initial_size=1, max_tasks_in_flight_per_actor=2
    )
    dataset = ray.data.range(ROWS, override_num_blocks=ROWS)
    dataset = dataset.map_batches(Ours, batch_size=1, num_cpus=1.0, compute=pool)
    rows: list[tuple[int, str]] = []
    seen: list[tuple[int, int]] = []
    with Monitor(1.0, interval_s=0.5, nodes=lambda: control.nodes) as monitor:
        for row in dataset.iter_rows():
            rows.append((row["id"], row["node"]))
            alive, running = sum(node["Alive"] for node in ray.nodes()), told[-1].running
            seen.append((alive, running))
            shrunk = running == 1 and max(of for _, of in seen) == MOST_ACTORS
            if (shrunk and alive <= 2) or time.monotonic() > late:
                Path(enough).touch()  # the rest goes fast
    remove(context, control)
    times = sorted(monitor.table()["time_s"].to_pylist())
    deadline = time.monotonic() + _GONE_AFTER_S
    while (left := sum(node["Alive"] for node in ray.nodes())) > 1:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    said = {
        "ids": sorted(row for row, _ in rows),
        "nodes_that_worked": len({node for _, node in rows}),
        "rows": seen,
        # The ids of these nodes differ at the end only; a node has one sample an interval.
        "nodes_sampled": max(bisect_left(times, at + 0.4) - n for n, at in enumerate(times)),
        "left": left,
        "running": [signals.running for signals in told],
        "room": [signals.room for signals in told],
        "node_s": [signals.node_s for signals in told],
    }
    sys.stdout.write(f"SAID {json.dumps(said)}\n")
    ray.shutdown()


def cluster_config(gcs_address: str) -> dict[str, Any]:
    """As `ray up` would have it, for nodes that are processes of this machine."""
    lists = (
        "setup_commands", "head_setup_commands", "worker_setup_commands",
        "initialization_commands", "head_start_ray_commands", "worker_start_ray_commands",
        "cluster_synced_files", "rsync_exclude", "rsync_filter",
    )  # fmt: skip
    node = {"CPU": NODE_CPUS, "object_store_memory": 100 * 2**20}
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs_address,
        },
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": HEAD_CPUS}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": node, "node_config": {}, "min_workers": 0, "max_workers": MOST_NODES,
            },
        },
        "head_node_type": HEAD_TYPE,
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(720)
def test_nodes_come_and_go_with_the_pool() -> None:
    from ray._private.services import get_node_ip_address

    with tempfile.TemporaryDirectory(prefix="ra_", ignore_cleanup_errors=True) as folder:
        port = free_port()
        address = f"{get_node_ip_address()}:{port}"
        config = Path(folder, "cluster.json")  # which is YAML too
        config.write_text(json.dumps(cluster_config(address)))
        env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
        }
        for_head = {**env, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        command = [
            *head_command(folder, HEAD_CPUS, port),
            f"--autoscaling-config={config}", "--include-dashboard=false",
        ]  # fmt: skip
        log = Path(folder, "head.log")
        with log.open("w") as out:
            head = subprocess.Popen(command, env=for_head, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 120
            while "Ray runtime started" not in log.read_text():
                assert head.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.2)
            driver = subprocess.run(
                [sys.executable, __file__, address, f"{folder}/enough"],
                cwd=ROOT, env=env, capture_output=True, text=True, timeout=480, check=False,
            )  # fmt: skip
        finally:
            end_head(head)
    assert driver.returncode == 0, driver.stderr[-3000:]
    lines = [line for line in driver.stdout.splitlines() if line.startswith("SAID ")]
    said = json.loads(lines[-1].removeprefix("SAID "))
    assert said["ids"] == list(range(ROWS))
    assert said["rows"][0][0] == 1
    assert max(said["running"]) == MOST_ACTORS
    assert said["running"][-1] == 1, "the pool shrank while it worked"
    assert said["nodes_that_worked"] >= 2
    assert said["nodes_sampled"] >= 2, "not the driver's alone"
    # Ray asks for a node for every task that waits as well, so that one comes and goes beside.
    while_full = [alive for alive, running in said["rows"] if running == MOST_ACTORS]
    assert min(while_full) >= 3, "four actors and a reader want three nodes of two"
    assert statistics.mode(while_full) == 3
    assert min(alive for alive, _ in said["rows"][-60:]) <= 2, "nodes went while the run went on"
    assert said["left"] == 1, "and all of them after it"
    # One CPU is left to read with, on whatever nodes there are.
    assert said["room"][0] == HEAD_CPUS - 1
    assert said["room"][said["running"].index(MOST_ACTORS)] >= MOST_ACTORS
    assert said["node_s"][0] > 0, "nodes are hoped for"


if __name__ == "__main__":
    drive(sys.argv[1], sys.argv[2])
