from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import Config, with_settings
from ray_asr.errors import DataError, PlanError
from ray_asr.job import pipeline
from ray_asr.job.pool import Pool, fit_pool
from tests.fakes import write_input

PROPERTY = settings(max_examples=100, deadline=None, database=None)
NODES = st.lists(st.tuples(st.integers(0, 64), st.integers(0, 8)), min_size=1, max_size=8)


def pool(cpus: list[float], gpus: list[float] | None = None, **settings: Any) -> Pool:
    return fit_pool(cpus, gpus or [0.0] * len(cpus), with_settings(Config(), settings))


def on_gpus(share: float = 1.0, **settings: Any) -> dict[str, Any]:
    return {"device": "cuda", "num_gpus": share, **settings}


@PROPERTY
@given(NODES, st.integers(0, 16), st.sampled_from([0, 1, 2, 0.5, 1 / 3, 0.25]))
def test_a_pool_fits_the_nodes_and_leaves_a_core_for_reading(
    nodes: list[tuple[int, int]], ncpu: int, num_gpus: float
) -> None:
    settings = on_gpus(num_gpus) if num_gpus else {}
    cpus, gpus = [float(c) for c, _ in nodes], [float(g) for _, g in nodes]
    try:
        found = pool(cpus, gpus, ncpu=ncpu, **settings)
    except PlanError:
        each = max(ncpu, 1)
        room = [c >= each and g + 1e-9 >= num_gpus for c, g in nodes]
        assert not any(room) or sum(cpus) - each < 1 or ncpu == 0
        return
    assert found.actors >= 1
    assert found.ncpu == ncpu or (ncpu == 0 and 1 <= found.ncpu <= 4)
    beside = found.detectors + found.punctuators
    assert found.actors * found.ncpu + beside <= sum(cpus) - 1
    assert (found.detectors > 0) == (found.punctuators > 0)
    room_for = [
        min(c // found.ncpu, int(g / num_gpus + 1e-9)) if num_gpus else c // found.ncpu
        for c, g in nodes
    ]
    assert found.actors <= sum(room_for)


@PROPERTY
@given(st.integers(2, 256))
def test_every_machine_of_two_cores_or_more_has_a_pool(cores: int) -> None:
    found = pool([float(cores)])
    assert found.actors * found.ncpu < cores


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([2], Pool(1, 1)),
        ([3], Pool(1, 2)),
        ([4], Pool(1, 3)),
        ([5], Pool(1, 4)),
        ([9], Pool(2, 4)),
        ([17], Pool(4, 4)),
        ([1, 1], Pool(1, 1)),
        ([4, 4, 1], Pool(2, 4)),
        ([0, 8, 8, 1], Pool(4, 4)),
    ],
)
def test_cores_and_actors_are_chosen_where_nothing_is_set(
    cpus: list[float], expected: Pool
) -> None:
    assert pool(cpus) == expected


@pytest.mark.parametrize("cpus", [[], [0], [1], [1.0, 0]])
def test_a_cluster_without_two_cores_is_refused(cpus: list[float]) -> None:
    with pytest.raises(PlanError, match=r"lower engine\.ncpu or"):
        pool(cpus)


def test_set_numbers_are_kept() -> None:
    assert pool([16], ncpu=2, num_actors=3) == Pool(3, 2)
    assert pool([16], ncpu=2) == Pool(7, 2)
    assert pool([16], num_actors=1) == Pool(1, 4)


def test_more_actors_than_fit_are_refused_with_the_numbers() -> None:
    with pytest.raises(PlanError) as caught:
        pool([4, 4], ncpu=2, num_actors=4)
    assert "4 actor(s) with 2 cores each and 1 core for reading" in str(caught.value)
    assert "4, 4 cores" in str(caught.value)


def test_an_actor_that_fits_no_single_node_is_refused() -> None:
    with pytest.raises(PlanError):
        pool([4, 4, 4], ncpu=6)


def test_gpus_bound_the_actors() -> None:
    fused = {"ncpu": 2, "stages": "fused"}
    assert pool([32], [2], **on_gpus(1, **fused)) == Pool(2, 2)
    assert pool([32], [2], **on_gpus(0.5, **fused)) == Pool(4, 2)
    assert pool([32], [1], **on_gpus(1 / 3, **fused)) == Pool(3, 2)
    assert pool([32, 32], [4, 0], **on_gpus(2, **fused)) == Pool(2, 2)


def test_steps_have_pools_of_their_own_where_they_would_starve_a_gpu() -> None:
    assert pool([32], [2], **on_gpus(1, ncpu=2)) == Pool(2, 2, 8, 4)
    assert pool([8], [1], **on_gpus(1, ncpu=2)) == Pool(1, 2, 2, 1)
    assert not pool([8], [1], **on_gpus(1, ncpu=2, vad_model="")).split
    assert not pool([8]).split


def test_steps_stay_together_where_there_is_no_room_beside_the_gpus_actor() -> None:
    assert pool([4], [1], **on_gpus(1, ncpu=2)) == Pool(1, 2)
    with pytest.raises(
        PlanError, match=r"1 for detection and 1 for punctuation \(job.stages=split"
    ):
        pool([4], [1], **on_gpus(1, ncpu=2, stages="split"))


def test_actors_of_one_core_are_taken_where_memory_holds_them() -> None:
    def with_memory(memory_gb: float, **settings: Any) -> Pool:
        return fit_pool([9.0], [0.0], with_settings(Config(), settings), memory_gb)

    assert with_memory(64.0) == Pool(8, 1)
    assert with_memory(16.0) == Pool(2, 4)
    assert with_memory(64.0, ncpu=2) == Pool(4, 2)


def test_steps_are_apart_on_cpus_where_that_is_asked_for() -> None:
    assert pool([5], ncpu=2, stages="split") == Pool(1, 2, 1, 1)


def test_a_cluster_without_the_gpu_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="1 GPU each"):
        pool([32, 32], [0, 0], **on_gpus(1))
    with pytest.raises(PlanError):  # cores on one node, the GPU on another
        pool([32, 1], [0, 1], **on_gpus(1, ncpu=2))


class Reached(RuntimeError):
    """The job would start now."""


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything before the first task, on a cluster of one machine that is not there."""

    def stop(*_: object) -> None:
        raise Reached

    monkeypatch.setattr(pipeline, "_check_models", lambda config: None)
    monkeypatch.setattr(pipeline, "connect", lambda address=None: None)
    monkeypatch.setattr(pipeline, "_cluster_pool", lambda config: Pool(1, 1))
    monkeypatch.setattr(pipeline, "_run", stop)


@pytest.mark.usefixtures("without_ray")
def test_an_output_of_other_settings_is_refused_naming_only_what_differs(tmp_path: Path) -> None:
    source = str(write_input(tmp_path / "in" / "a.parquet", [b"x"]))
    output = tmp_path / "out"
    with pytest.raises(Reached):
        pipeline.transcribe_path(source, str(output), Config())
    with pytest.raises(Reached):  # the same again goes on
        pipeline.transcribe_path(source, str(output), with_settings(Config(), {"ncpu": 2}))
    with pytest.raises(DataError) as caught:
        pipeline.transcribe_path(source, str(output), with_settings(Config(), {"language": "en"}))
    assert "engine.language was '', now 'en'" in str(caught.value)
    assert "engine.model" not in str(caught.value)
    assert sorted(file.name for file in output.iterdir()) == ["_job.json"]


@pytest.mark.usefixtures("without_ray")
def test_a_missing_input_makes_no_output(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        pipeline.transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), Config())
    assert list(tmp_path.iterdir()) == []
