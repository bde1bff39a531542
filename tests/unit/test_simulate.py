from __future__ import annotations

import json

import pytest

from ray_asr.control.paper_job import Curve, Workload
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.rival_policies import FixedSize
from ray_asr.control.simulate import (
    SimulationOptions,
    SimulationResult,
    oracle,
    predict,
    run_simulation,
)
from ray_asr.control.simulated_cluster import Simulation
from ray_asr.errors import ConfigError, PlanError

CURVE = Curve((20.0, 34.0, 35.0, 34.0))


@pytest.fixture(scope="module")
def fifty() -> SimulationResult:
    return run_simulation()


def test_all_fifty_are_near_the_oracle(fifty: SimulationResult) -> None:
    far = [c.name for c in fifty.comparisons if not c.near_oracle]
    assert len(fifty.comparisons) == 50
    assert far == []


def test_ray_is_beaten_in_all_fifty(fifty: SimulationResult) -> None:
    assert [c.name for c in fifty.comparisons if not c.beats_ray] == []


def test_the_oracle_is_no_slower_than_any_fixed_size() -> None:
    work = Workload("knee", (60.0,) * 80, CURVE, load_s=5.0, nodes=2, room=4)
    actors, best, largest = oracle(work)
    every = {n: Simulation(work, FixedSize(n)).run() for n in range(1, 9)}
    least_s = min(outcome.makespan_s for outcome in every.values())
    assert best == every[actors]
    assert largest == every[8]
    assert best.makespan_s <= 1.01 * least_s
    assert best.actor_hours == min(
        o.actor_hours for o in every.values() if o.makespan_s <= 1.01 * least_s
    )


def test_table_and_dictionary_say_the_same() -> None:
    result = run_simulation(SimulationOptions(workloads=2, seed=3, price_per_actor_hour=0.5))
    table, plain = result.table(), json.loads(json.dumps(result.to_dict()))
    assert len(plain["workloads"]) == 2
    for work in plain["workloads"]:
        assert work["name"] in table
        assert f"{work['ours']['makespan_s']:.0f}" in table
        assert work["ray"]["cost"] == pytest.approx(0.5 * work["ray"]["actor_hours"])
    assert "of 2 within 1.05 times the oracle's makespan" in table


def test_no_workloads_is_refused() -> None:
    with pytest.raises(ConfigError, match="ask for 1 or more"):
        SimulationOptions(workloads=0)


def test_a_fixed_pool_is_predicted_from_its_curve() -> None:
    outcome = predict(CURVE, audio_s=6000.0, chunk_s=60.0, load_s=8.0, actors=2)
    assert outcome.makespan_s == pytest.approx(8.0 + 6000 / 34, rel=0.02)
    assert outcome.actor_hours == pytest.approx(2 * outcome.makespan_s / 3600, rel=0.02)


def test_the_rest_of_the_audio_is_a_chunk_of_its_own() -> None:
    outcome = predict(CURVE, audio_s=90.0, chunk_s=60.0, load_s=1.0, actors=1)
    assert outcome.makespan_s == pytest.approx(1.0 + 90 / 20)


def test_a_policy_is_predicted_too() -> None:
    policy = ScalingPolicy(PolicyOptions(start=1, most=4))
    outcome = predict(CURVE, 30_000.0, 60.0, 5.0, actors=4, policy=policy)
    assert outcome.makespan_s < predict(CURVE, 30_000.0, 60.0, 5.0, actors=1).makespan_s
    assert max(running for _, _, running in outcome.history) >= 2


@pytest.mark.parametrize("wrong", [
    {"audio_s": 0.0}, {"chunk_s": -1.0}, {"actors": 0}, {"curve": Curve(())},
])  # fmt: skip
def test_nothing_to_predict_is_refused(wrong: dict[str, object]) -> None:
    asked: dict[str, object] = {
        "curve": CURVE, "audio_s": 100.0, "chunk_s": 10.0, "load_s": 1.0, "actors": 1,
    }  # fmt: skip
    with pytest.raises(PlanError, match="nothing to predict"):
        predict(**(asked | wrong))  # pyright: ignore[reportArgumentType]
