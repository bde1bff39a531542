"""Plans of clusters on paper: what fits, what is refused, and why each number."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import Config, with_settings
from ray_asr.control.batch_bounds import batches_in_a_chunk
from ray_asr.control.plan import (
    Actors,
    ClusterResources,
    Node,
    Plan,
    even_share,
    memory_decides,
)
from ray_asr.errors import ConfigError, ExitCode, PlanError
from tests.plans import Fastest, Measured, cluster, machine, on_gpus, plan_for

PROPERTY = settings(max_examples=100, deadline=None, database=None)


# --- the rule of thumb


def test_eighty_cores_for_ten_processes_are_seven_each_and_ten_are_kept() -> None:
    assert even_share(80, 10) == 7
    assert 80 - 10 * even_share(80, 10) == 10


@PROPERTY
@given(st.integers(1, 2048), st.integers(1, 2048))
def test_an_even_share_never_hands_out_more_than_there_is(cores: int, processes: int) -> None:
    share = even_share(cores, processes)
    assert share >= 1
    assert share == 1 or processes * share <= cores - cores // 8


def test_a_fixed_number_of_actors_starts_from_the_rule_of_thumb() -> None:
    plan = plan_for(machine(80), num_actors=10, autoscale=False)
    assert (plan.ncpu, plan.num_cpus, plan.recognize) == (7, 7, Actors(10, 10, 10))
    assert "even share for 10" in plan.reasons["ncpu"]


def test_an_even_share_is_narrowed_to_what_nodes_and_numa_nodes_hold() -> None:
    four_nodes = cluster(*[machine(16)] * 4)
    assert plan_for(four_nodes, num_actors=6, autoscale=False).ncpu == 7  # 9 is two thirds of one
    two_sides = machine(80, numa_nodes=2)
    assert plan_for(two_sides, num_actors=10, autoscale=False).ncpu == 7
    plan = plan_for(two_sides, num_actors=1, autoscale=False)
    assert plan.ncpu == 40
    assert "NUMA" in plan.reasons["ncpu"]


# --- CPUs


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([2], (1, 1)),
        ([3], (1, 2)),
        ([4], (1, 3)),
        ([5], (1, 4)),
        ([9], (2, 4)),
        ([17], (4, 4)),
        ([1, 1], (1, 1)),
        ([4, 4, 1], (2, 4)),
        ([0, 8, 8, 1], (4, 4)),
    ],
)
def test_cores_and_actors_are_chosen_where_memory_is_not_known(
    cpus: list[int], expected: tuple[int, int]
) -> None:
    plan = plan_for(cluster(*[machine(c) for c in cpus]))
    assert (plan.recognize.start, plan.ncpu) == expected


def test_one_core_each_where_memory_holds_the_models() -> None:
    plan = plan_for(machine(9, 64.0))
    assert (plan.ncpu, plan.recognize) == (1, Actors(1, 8, 8))
    assert "assumed" in plan.reasons["ncpu"]
    plan = plan_for(machine(9, 16.0))  # 3 models of an assumed 4 GB
    assert (plan.ncpu, plan.recognize.most) == (2, 3)
    assert plan_for(machine(9, 16.0), Measured(0.5, 0.5)).ncpu == 1
    assert plan_for(machine(9, 64.0), ncpu=2).recognize.most == 4


def test_a_ray_of_ones_own_reads_on_a_slot_beside_the_cores() -> None:
    own = Node(ray_cpus=3, cores=2, physical_cores=2, memory_gb=16)
    plan = plan_for(own)
    assert (plan.ncpu, plan.recognize, plan.reserve_cores) == (1, Actors(1, 2, 2), 0)
    assert plan.warnings == ()


def test_cores_that_ray_only_claims_are_not_counted() -> None:
    plan = plan_for(Node(ray_cpus=96, cores=8, physical_cores=8, memory_gb=256))
    assert plan.recognize.most * plan.ncpu == 8
    assert plan.cores == 8
    (warning,) = plan.warnings
    assert "Ray claims 96 CPUs on 1 node(s) whose processes may use 8 cores" in warning
    assert "--num-cpus=8" in warning


def test_ray_may_grant_less_than_the_machine_has() -> None:
    plan = plan_for(Node(ray_cpus=4, cores=64, physical_cores=64, memory_gb=256))
    assert plan.recognize.most * plan.ncpu == 3
    assert plan.warnings == ()


def test_two_threads_of_a_core_compute_as_one() -> None:
    plan = plan_for(Node(ray_cpus=64, cores=64, physical_cores=32, memory_gb=512))
    assert plan.recognize.most * plan.ncpu == 32
    assert plan.reserve_cores == 0
    assert "second threads" in plan.reasons["reserve_cores"]


def test_a_quota_below_the_physical_cores_is_what_counts() -> None:
    plan = plan_for(Node(ray_cpus=64, cores=7.5, physical_cores=32, memory_gb=512))
    assert plan.recognize.most * plan.ncpu == 7


def test_half_a_core_still_computes() -> None:
    assert plan_for(Node(ray_cpus=2, cores=0.5, physical_cores=1)).recognize.most == 1


def test_an_actor_does_not_span_two_numa_nodes() -> None:
    plan = plan_for(machine(48, 512, numa_nodes=2), ncpu=16, reserve_cores=0)
    assert plan.recognize.most == 2  # not 3: the third would lie on both sides
    wider = plan_for(machine(48, 512, numa_nodes=2), ncpu=30, reserve_cores=0)
    assert wider.recognize.most == 1  # wider than either side, as it was asked for


@pytest.mark.parametrize(("cores", "kept"), [(2, 0), (15, 0), (16, 1), (64, 4), (256, 16)])
def test_large_nodes_keep_one_core_in_sixteen(cores: int, kept: int) -> None:
    plan = plan_for(machine(cores, 4096.0))
    assert plan.reserve_cores == kept
    assert plan.reserve_percent == pytest.approx(100 * kept / cores)
    assert plan.recognize.most == min(cores - 1, cores - kept)


def test_a_set_reserve_is_kept_on_each_node() -> None:
    plan = plan_for(cluster(*[machine(16, 128.0)] * 3), reserve_cores=6)
    assert (plan.recognize.most, plan.reserve_cores) == (30, 18)
    assert plan.reasons["reserve_cores"].startswith("6 of each node")


def test_256_nodes_are_planned() -> None:
    nodes = cluster(*[machine(64, 512.0, numa_nodes=2)] * 256, store_gb=1e4)
    plan = plan_for(nodes, Measured())
    assert plan.ncpu == 1
    assert plan.recognize.most == 256 * 60


# --- bounds


def test_set_numbers_are_kept() -> None:
    plan = plan_for(machine(16), ncpu=2, num_actors=3)
    assert (plan.ncpu, plan.recognize) == (2, Actors(1, 3, 7))
    assert plan_for(machine(16), num_actors=1).recognize == Actors(1, 1, 3)


def test_bounds_hold_the_start() -> None:
    one_each = {"ncpu": 1}
    assert plan_for(machine(9), max_actors=3, **one_each).recognize == Actors(1, 3, 3)
    assert plan_for(machine(9), min_actors=2, **one_each).recognize == Actors(2, 8, 8)
    assert plan_for(machine(9), min_actors=8, **one_each).recognize == Actors(8, 8, 8)
    fixed = plan_for(machine(9), autoscale=False, **one_each)
    assert fixed.recognize == Actors(8, 8, 8)
    assert plan_for(machine(9), autoscale=False, max_actors=4, **one_each).recognize.start == 4


def test_more_actors_than_there_is_room_for_now_may_be_the_bound_where_nodes_come() -> None:
    plan = plan_for(machine(9), ncpu=1, max_actors=100)
    assert plan.recognize == Actors(1, 8, 100)
    assert "8 fit the nodes of now" in plan.reasons["recognize"]


def test_a_start_above_the_cores_is_taken_where_ray_grants_it_and_said() -> None:
    plan = plan_for(Node(ray_cpus=9, cores=2, physical_cores=2, memory_gb=64), ncpu=1, num_actors=8)
    assert plan.recognize == Actors(1, 8, 8)
    assert any("2 fit the cores" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"min_actors": 3, "max_actors": 2}, "control.min_actors is 3, more than"),
        ({"min_actors": 3, "num_actors": 2}, "job.num_actors is 2, outside"),
        ({"max_actors": 3, "num_actors": 4}, "job.num_actors is 4, outside"),
        ({"min_actors": -1}, "control.min_actors is -1"),
        ({"max_actors": -1}, "control.max_actors is -1"),
        ({"reserve_cores": -2}, "control.reserve_cores is -2"),
        ({"sample_interval_s": 0}, "control.sample_interval_s is 0"),
        ({"actor_timeout_s": -5}, "control.actor_timeout_s is -5"),
    ],
)
def test_impossible_bounds_are_a_config_error(bounds: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        with_settings(Config(), bounds)


def test_a_reserve_larger_than_every_node_is_refused() -> None:
    with pytest.raises(PlanError, match="reserve_cores is 8, but the largest node has 8 cores"):
        plan_for(cluster(machine(4), machine(8)), reserve_cores=8)


@pytest.mark.parametrize("cpus", [[], [0], [1], [1, 0]])
def test_a_cluster_without_two_cores_is_refused(cpus: list[int]) -> None:
    with pytest.raises(PlanError, match=r"lower engine\.ncpu or"):
        plan_for(cluster(*[machine(c) for c in cpus]))


def test_actors_wider_than_every_node_are_refused_though_ray_would_place_them() -> None:
    with pytest.raises(PlanError) as caught:
        plan_for(Node(ray_cpus=9, cores=4, physical_cores=4), ncpu=5)
    assert caught.value.exit_code == ExitCode.PLAN_DOES_NOT_FIT


def test_more_actors_than_fit_are_refused_with_the_numbers() -> None:
    with pytest.raises(PlanError) as caught:
        plan_for(cluster(machine(4), machine(4)), ncpu=2, num_actors=4)
    assert "4 actor(s) with 2 cores each and 1 core for reading" in str(caught.value)
    assert "4, 4 cores" in str(caught.value)
    assert "Ray grants 8 CPUs" in str(caught.value)


def test_an_actor_that_fits_no_single_node_is_refused() -> None:
    with pytest.raises(PlanError):
        plan_for(cluster(*[machine(4)] * 3), ncpu=6)


def test_a_large_cluster_is_described_by_its_kinds_of_nodes() -> None:
    with pytest.raises(PlanError, match="20 nodes, most of them 15 nodes of 4 cores and 0 GPUs"):
        plan_for(cluster(*[machine(4)] * 15, *[machine(2)] * 5), ncpu=6)


# --- GPUs


def test_gpus_bound_the_actors() -> None:
    fused = {"ncpu": 2, "stages": "fused"}
    two, one = machine(32, gpus=2), machine(32, gpus=1)
    assert plan_for(two, **on_gpus(1, **fused)).recognize.most == 2
    assert plan_for(two, **on_gpus(0.5, **fused)).recognize.most == 4
    assert plan_for(one, **on_gpus(1 / 3, **fused)).recognize.most == 3
    four_on_one_node = cluster(machine(32, gpus=4), machine(32))
    assert plan_for(four_on_one_node, **on_gpus(2, **fused)).recognize.most == 2


def test_detectors_and_punctuators_stand_beside_the_gpus() -> None:
    plan = plan_for(machine(32, gpus=2), **on_gpus(1))
    assert (plan.ncpu, plan.stages, plan.recognize.most) == (2, "split", 2)
    assert (plan.detect.start, plan.punctuate.start) == (8, 4)
    plan = plan_for(machine(8, gpus=1), **on_gpus(1, ncpu=2))
    assert (plan.recognize.most, plan.detect.start, plan.punctuate.start) == (1, 2, 1)
    assert not plan_for(machine(8, gpus=1), **on_gpus(1, ncpu=2, vad_model="")).split


def test_steps_stay_together_where_no_core_is_left_beside_the_gpus_actor() -> None:
    plan = plan_for(machine(4, gpus=1), **on_gpus(1, ncpu=2))
    assert (plan.stages, plan.detect, plan.punctuate) == ("fused", Actors(), Actors())
    with pytest.raises(
        PlanError, match=r"1 for detection and 1 for punctuation \(job.stages=split"
    ):
        plan_for(machine(4, gpus=1), **on_gpus(1, ncpu=2, stages="split"))


def test_steps_are_apart_on_cpus_where_that_is_asked_for() -> None:
    plan = plan_for(machine(5), ncpu=2, stages="split")
    assert (plan.recognize.most, plan.detect.start, plan.punctuate.start) == (1, 1, 1)


@pytest.mark.parametrize(("gpus", "settings"), [(0, {}), (2, {"num_actors": 3})])
def test_more_gpus_than_there_are_is_refused(gpus: int, settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=rf"and the cluster has {gpus}: add GPU nodes"):
        plan_for(machine(32, gpus=gpus), **on_gpus(1, **settings))


def test_cores_on_one_node_and_the_gpu_on_another_are_refused() -> None:
    with pytest.raises(PlanError, match="1 GPU each"):
        plan_for(cluster(machine(32), machine(1, gpus=1)), **on_gpus(1, ncpu=2))


def test_the_gpus_memory_bounds_the_batch() -> None:
    footprint = Measured(gpu_memory_gb=4.0, gpu_gb_per_padded_s=0.02)
    plan = plan_for(machine(16, 64, gpus=1, gpu_memory_gb=24.0), footprint, **on_gpus(1))
    assert plan.batch_size_s == 300.0
    assert plan.most_batch_s == 880.0  # 90 % of 24 GB, less 4 GB
    assert "10.00 of its 21.60 GB" in plan.reasons["num_gpus"]


def test_a_share_that_memory_does_not_allow_is_refused_with_one_that_it_does() -> None:
    footprint = Measured(gpu_memory_gb=4.0, gpu_gb_per_padded_s=0.02)
    node = machine(16, 64, gpus=1, gpu_memory_gb=24.0)
    with pytest.raises(PlanError, match=r"set job\.num_gpus to 0\.5, since a GPU holds 2"):
        plan_for(node, footprint, **on_gpus(0.25, batch_size_s=300))
    assert plan_for(node, footprint, **on_gpus(0.5, batch_size_s=300)).recognize.most == 2


# --- batches, object store, pinning


def test_the_batch_stays_where_it_may_not_vary() -> None:
    plan = plan_for(machine(8), vary_batch=False, batch_size_s=40)
    assert (plan.least_batch_s, plan.batch_size_s, plan.most_batch_s) == (40, 40, 40)


def test_a_batch_never_comes_below_the_longest_segment() -> None:
    assert plan_for(machine(8), batch_size_s=90).least_batch_s == 30.0
    shorter = plan_for(machine(8), batch_size_s=90, max_single_segment_time=12_000)
    assert shorter.least_batch_s == 12.0


def test_an_object_store_that_is_too_small_is_said() -> None:
    plan = plan_for(cluster(machine(64, 512.0), store_gb=0.5), Measured())
    assert plan.object_store_gb == 0.5
    assert any("will spill to disk" in warning for warning in plan.warnings)
    plan = plan_for(cluster(machine(64, 512.0), store_gb=100.0), Measured())
    assert 0 < plan.object_store_gb < 100.0
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("batch_s", "batches"),
    [(1, 4), (15, 4), (30, 4), (60, 4), (80, 3), (90, 2), (120, 2), (300, 2)],
)
def test_a_chunk_is_four_batches_at_the_most_and_fewer_where_they_are_long(
    batch_s: float, batches: int
) -> None:
    assert batches_in_a_chunk(batch_s) == batches
    settings = {"num_actors": 2, "ncpu": 1, "autoscale": False, "max_single_segment_time": 1000}
    plan = plan_for(machine(8), batch_size_s=batch_s, **settings)
    reason = f"{4 * batches} batches for each actor, 960 s for each of 2 reading task(s)"
    assert reason in plan.reasons["object_store_gb"]
    audio_s = plan.recognize.most * 4 * batches * batch_s + 2 * 960
    assert plan.object_store_gb == pytest.approx(audio_s * 64_000 / 2**30)


def test_cores_are_pinned_where_each_actor_can_have_its_own() -> None:
    assert not plan_for(machine(8)).pin_cores
    assert plan_for(machine(8), pin_cores=True).pin_cores
    crowded = plan_for(Node(9, 2, 2), ncpu=1, num_actors=8, pin_cores=True)
    assert not crowded.pin_cores
    assert "more actors than" in crowded.reasons["pin_cores"]


@pytest.mark.parametrize(
    "plan",
    [
        plan_for(machine(2)),
        plan_for(machine(32, 64.0, gpus=2, gpu_memory_gb=80), Measured(), **on_gpus(0.5)),
        plan_for(machine(16, 64.0), Measured(), Fastest(), pin_cores=True),
    ],
)
def test_every_number_has_its_reason(plan: Plan) -> None:
    numbers = {field.name for field in dataclasses.fields(Plan)} - {"reasons", "warnings"}
    assert set(plan.reasons) == numbers | {"num_cpus"}
    assert all(reason for reason in plan.reasons.values())


def test_a_plan_is_written_as_json() -> None:
    plan = plan_for(machine(8, 64.0), Measured())
    written = json.loads(json.dumps(plan.to_dict()))
    assert written["recognize"] == {"least": 1, "start": 7, "most": 7}
    assert (written["num_cpus"], written["reasons"]) == (1, dict(plan.reasons))


def test_a_model_is_worth_measuring_where_its_memory_decides() -> None:
    roomy = ClusterResources((Node(9, 8, memory_gb=64.0),))
    tight = ClusterResources((Node(9, 8, memory_gb=16.0),))
    assert not memory_decides(roomy, Config())
    assert memory_decides(tight, Config())
    assert not memory_decides(ClusterResources((Node(9, 8),)), Config())
    few = with_settings(Config(), {"num_actors": 2, "ncpu": 2, "autoscale": False})
    assert not memory_decides(tight, few)
    gpu = ClusterResources((Node(9, 8, memory_gb=64.0, gpus=1, gpu_memory_gb=80.0),))
    for num_gpus, decides in [(0.5, True), (1.0, False)]:
        config = with_settings(Config(), {"device": "cuda", "num_gpus": num_gpus})
        assert memory_decides(gpu, config) is decides
