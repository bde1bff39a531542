"""What a real Ray's nodes say of themselves, and what is done where they do not."""

from __future__ import annotations

import os
import time
from typing import Any

import psutil
import pytest
import ray

from ray_asr.config import EngineConfig
from ray_asr.control.capacity import Node
from ray_asr.errors import ConfigError, PlanError
from ray_asr.job import cluster
from ray_asr.job.cluster import (
    cluster_resources,
    model_footprint,
    own_machine,
    smallest_gpu_gb,
)

pytestmark = pytest.mark.usefixtures("ray_local")

GB = 2**30


def test_a_node_says_what_its_processes_may_use_beside_what_ray_claims() -> None:
    found = cluster_resources()
    (node,) = found.nodes
    assert node.ray_cpus == 4  # as the tests' Ray claims, whatever the machine has
    assert 0 < node.cores <= len(os.sched_getaffinity(0))
    assert 1 <= node.physical_cores <= len(os.sched_getaffinity(0))
    assert 0 < node.memory_gb <= psutil.virtual_memory().total / GB
    assert found.object_store_gb == pytest.approx(300 * 2**20 / GB)
    assert found.cpu_slots == 4


def test_asking_takes_no_cpu_of_ray() -> None:
    @ray.remote(num_cpus=1)
    class Holder:
        def ready(self) -> bool:
            return True

    holders = [Holder.remote() for _ in range(4)]
    ray.get([holder.ready.remote() for holder in holders])
    try:
        assert len(cluster_resources(30.0).nodes) == 1
    finally:
        for holder in holders:
            ray.kill(holder)


def never_and_at_once() -> list[Any]:
    """Tasks that do not answer; made here, so that a worker gets them whole."""

    def waits() -> None:
        time.sleep(600)

    def dies() -> None:
        os._exit(1)

    return [waits, dies]


@pytest.mark.parametrize("answer", never_and_at_once())
def test_a_node_that_does_not_answer_is_taken_at_rays_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    monkeypatch.setattr(cluster, "own_machine", answer)
    started = time.monotonic()
    (node,) = cluster_resources(timeout_s=4.0).nodes
    assert answer.__name__ == "dies" or time.monotonic() - started >= 4.0
    assert (node.ray_cpus, node.cores, node.physical_cores) == (4, 4, 0)
    assert node.memory_gb > 0
    assert "1 of 1 node(s) did not say" in caplog.text


def test_a_node_that_is_gone_is_left_out_and_a_new_one_taken_at_rays_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    states = [{"ab" * 28: {"CPU": 8.0}}, {"cd" * 28: {"CPU": 2.0, "GPU": 1.0, "memory": 6.0 * GB}}]
    monkeypatch.setattr(cluster, "_alive", lambda: states.pop(0))
    found = cluster_resources(timeout_s=5.0)
    assert found.nodes == (Node(2.0, 2.0, memory_gb=6.0, gpus=1.0),)
    assert "1 of 1 node(s) did not say" in caplog.text


def test_a_process_sees_no_more_than_the_machine_has() -> None:
    seen = own_machine()
    assert seen["physical_cores"] <= len(os.sched_getaffinity(0))
    assert seen["cores"] <= len(os.sched_getaffinity(0))
    assert seen["numa_nodes"] >= 1


@pytest.mark.parametrize(
    ("totals", "gb"),
    [("24576\n81920\n", 24.0), ("", 0.0), ("[N/A]\n", 0.0), ("No devices were found\n", 0.0)],
)
def test_the_smallest_gpu_counts(totals: str, gb: float) -> None:
    assert smallest_gpu_gb(totals) == gb


def test_models_are_measured_in_a_process_that_goes_away() -> None:
    demo = EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1)
    found = model_footprint(demo)
    assert found.parameters > 1e6
    assert 0.1 < found.memory_gb < 2.0
    with pytest.raises(ConfigError, match=r"engine\.model: there is no model folder"):
        model_footprint(EngineConfig(model="/nowhere/at/all", vad_model="", punc_model="", ncpu=1))


def test_a_measurement_that_finds_no_place_ends_and_says_what_it_wants() -> None:
    demo = EngineConfig(model="demo", vad_model="", punc_model="", ncpu=64)
    with pytest.raises(PlanError, match=r"within 3 s: no node may have had 64 CPU\(s\) free"):
        model_footprint(demo, timeout_s=3.0)
