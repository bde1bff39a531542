"""Plans by what a model was measured to take, and by what an earlier run was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.capacity import kept_cores
from ray_asr.control.plan import (
    Actors,
    ClusterResources,
    Node,
)
from ray_asr.errors import PlanError
from tests.plans import Entry, Fastest, Measured, cluster, machine, plan_for

PROPERTY = settings(max_examples=100, deadline=None, database=None)


# --- memory


def test_memory_bounds_the_actors() -> None:
    plan = plan_for(machine(32, 20.0), Measured())  # 17 GB for actors, 2.6 GB each
    assert plan.recognize.most == 6
    assert plan.recognize.most * plan.ncpu >= 0.75 * 30
    assert "2.6 GB each" in plan.reasons["ncpu"]
    assert plan_for(machine(32, 20.0), Measured(), ncpu=1).recognize.most == 6
    # Batches of half the size leave room for one more, and those of float32 for another.
    assert plan.batch_size_s == 60.0
    assert "more actors" in plan.reasons["batch_size_s"]
    assert plan_for(machine(32, 20.0), Measured(), precision="fp32").recognize.most == 7


def test_a_batch_is_whole_where_half_of_it_brings_no_actor() -> None:
    light = Measured(gb_per_padded_s=0.0002)
    plan = plan_for(machine(32, 20.0), light)
    assert plan.batch_size_s == 120.0
    assert plan.recognize == plan_for(machine(32, 20.0), light, batch_size_s=60).recognize
    # The longest segment has to fit, and what was asked for stays.
    assert plan_for(machine(32, 20.0), Measured(), batch_size_s=120).batch_size_s == 120.0
    longest = plan_for(machine(32, 20.0), Measured(), max_single_segment_time=90_000)
    assert longest.batch_size_s >= 90.0


def test_reading_a_checkpoint_may_take_more_than_the_model() -> None:
    assert plan_for(machine(8, 20.0), Measured(loading_gb=8.0), ncpu=1).recognize.most == 2


def test_the_object_store_is_not_for_actors() -> None:
    with_store = ClusterResources((machine(8, 20.0),), object_store_gb=10.0)
    assert plan_for(with_store, Measured(), ncpu=1).recognize.most == 3


def test_a_model_larger_than_every_node_is_refused_with_both_sizes() -> None:
    with pytest.raises(PlanError, match=r"takes 12\.30 GB .* has 6\.80 GB for actors"):
        plan_for(machine(8, 8.0), Measured(12.0, 12.0))


def test_an_assumed_size_refuses_nothing() -> None:
    assert plan_for(machine(2, 1.0)).recognize == Actors(1, 1, 1)
    assert plan_for(machine(4, 1.0), ncpu=1, num_actors=3).recognize.start == 3


def test_a_batch_that_was_set_and_does_not_fit_is_refused() -> None:
    with pytest.raises(PlanError, match=r"batch of 900 padded seconds.*lower batch\.batch_size_s"):
        plan_for(machine(4, 8.0), Measured(), batch_size_s=900)


def test_a_batch_that_nobody_set_comes_down_to_what_fits() -> None:
    heavy = Measured(gb_per_padded_s=0.2)  # 6.8 GB for actors: 24 s beside the model
    plan = plan_for(machine(4, 8.0), heavy, max_single_segment_time=20_000)
    assert plan.batch_size_s == 24.0
    assert "less than 120 s" in plan.reasons["batch_size_s"]


@PROPERTY
@given(
    st.lists(
        st.tuples(
            st.integers(0, 128), st.floats(0.5, 128), st.integers(0, 128), st.integers(1, 8),
            st.floats(0, 1024),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 16),
    st.floats(0.1, 64),
    st.integers(-1, 16),
)  # fmt: skip
def test_a_plan_fits_its_cluster_or_is_refused(
    nodes: list[tuple[int, float, int, int, float]], ncpu: int, model_gb: float, reserve: int
) -> None:
    resources = cluster(*[Node(float(r), c, p, n, m) for r, c, p, n, m in nodes])
    footprint = Measured(model_gb, model_gb)
    try:
        plan = plan_for(resources, footprint, ncpu=ncpu, reserve_cores=reserve)
    except PlanError:
        return
    actors = plan.recognize.most
    assert 1 <= plan.recognize.least <= plan.recognize.start <= actors
    assert ncpu in (0, plan.ncpu)
    assert plan.num_cpus == plan.ncpu >= 1
    assert actors * plan.ncpu <= resources.cpu_slots - 1
    computing = [node.computing - kept_cores(node, reserve) for node in resources.nodes]
    assert actors * plan.ncpu <= sum(computing)
    assert plan.least_batch_s <= plan.batch_size_s <= plan.most_batch_s
    if all(node.memory_gb for node in resources.nodes):
        held = sum(
            int(resources.memory_for_actors_gb(node) / (model_gb + 0.01 * plan.batch_size_s) + 1e-6)
            for node in resources.nodes
        )
        assert actors <= held


@PROPERTY
@given(st.integers(2, 256), st.sampled_from([0.0, 1024.0]))
def test_every_machine_of_two_cores_or_more_has_a_plan(cores: int, memory_gb: float) -> None:
    plan = plan_for(machine(cores, memory_gb))
    assert 0.7 * (cores - 1) <= plan.recognize.most * plan.ncpu < cores


# --- what was measured before


def test_a_baseline_is_where_it_starts() -> None:
    plan = plan_for(machine(16, 64.0), Measured(), Fastest())
    assert (plan.ncpu, plan.recognize.start, plan.batch_size_s) == (2, 3, 45.0)
    assert (plan.precision, plan.stages) == ("fp32", "fused")
    assert plan.recognize.most == 7
    for name in ("ncpu", "recognize", "batch_size_s", "precision", "stages"):
        assert "baseline" in plan.reasons[name]


def test_what_is_set_comes_before_the_baseline() -> None:
    chosen = {"ncpu": 1, "num_actors": 2, "batch_size_s": 60, "precision": "int8"}
    plan = plan_for(machine(16, 64.0), baseline=Fastest(), **chosen)
    assert (plan.ncpu, plan.recognize.start, plan.batch_size_s) == (1, 2, 60.0)
    assert plan.precision == "int8"
    assert not any("baseline" in plan.reasons[n] for n in ("ncpu", "recognize", "precision"))


def test_a_baseline_that_does_not_fit_is_left_aside() -> None:
    wide = Fastest(Entry(ncpu=64, stages="split"))
    plan = plan_for(machine(4, 64.0), baseline=wide, ncpu=0)
    assert plan.ncpu == 1
    assert plan_for(machine(2, 64.0), baseline=wide).stages == "fused"


def test_a_footprint_tells_precision_and_load_time() -> None:
    plan = plan_for(machine(8, 64.0), Measured())
    assert (plan.precision, plan.load_s) == ("int8", 7.0)
    assert plan_for(machine(8)).load_s is None
    assert plan_for(machine(8)).precision == "auto"
