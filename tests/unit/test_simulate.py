from __future__ import annotations

import json

import pytest

from ray_asr.control.simulate import SimulationOptions, SimulationResult, run_simulation
from ray_asr.errors import ConfigError


@pytest.fixture(scope="module")
def fifty() -> SimulationResult:
    return run_simulation()


def test_all_fifty_are_near_the_oracle(fifty: SimulationResult) -> None:
    far = [c.name for c in fifty.comparisons if not c.near_oracle]
    assert len(fifty.comparisons) == 50
    assert far == []


def test_ray_is_beaten_in_all_fifty(fifty: SimulationResult) -> None:
    assert [c.name for c in fifty.comparisons if not c.beats_ray] == []


def test_table_and_dictionary_say_the_same() -> None:
    result = run_simulation(SimulationOptions(workloads=2, seed=3, price_per_actor_hour=0.5))
    table, plain = result.table(), json.loads(json.dumps(result.to_dict()))
    assert len(plain["workloads"]) == 2
    for work in plain["workloads"]:
        assert work["name"] in table
        assert f"{work['ours']['makespan_s']:.0f}" in table
        assert work["ray"]["cost"] == pytest.approx(0.5 * work["ray"]["actor_hours"])
        assert f"{work['ours']['cost']:.2f}" in table
        sizes = [int(size) for size in work["fixed"]]
        assert work["fixed"][str(max(sizes))]["makespan_s"] >= 0.99 * work["oracle"]["makespan_s"]
    assert "cost" in table
    assert "of 2 within 1.05 times the oracle's makespan" in table


def test_without_a_price_there_is_no_column_of_costs() -> None:
    assert "cost" not in run_simulation(SimulationOptions(workloads=1)).table()


def test_a_price_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="price is -1"):
        SimulationOptions(price_per_actor_hour=-1.0)


def test_no_workloads_is_refused() -> None:
    with pytest.raises(ConfigError, match="ask for 1 or more"):
        SimulationOptions(workloads=0)
