"""A baseline's curve becomes a job on paper, whose time follows from it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ray_asr.control.baseline import Baseline, Entry, Hardware, Models, Sample
from ray_asr.control.prediction import (
    Bounds,
    PaperCluster,
    RealRun,
    node_curve,
    predict,
    setting_like,
)
from ray_asr.errors import ConfigError, PlanError

HARDWARE = Hardware("A CPU", 1, 4, 31.2)


def entry(**changes: Any) -> Entry:
    plain = Entry(
        1, 1, 30.0, "fp32", "fused", x_real_time=20.0, sample_s=400.0, load_s=6.0, start_s=8.0
    )
    return dataclasses.replace(plain, **changes)


def baseline(*entries: Entry, nodes: int = 1, overhead_s: float = 0.0) -> Baseline:
    hardware = dataclasses.replace(HARDWARE, nodes=nodes)
    return Baseline(
        "2026-11-23 10:00 UTC", hardware, Models("m", "r"), {}, Sample(400.0, 50), entries,
        overhead_s,
    )  # fmt: skip


KNOWN = baseline(
    entry(), entry(actors=2, x_real_time=34.0), entry(actors=4, x_real_time=36.0),
    entry(actors=2, precision="int8", x_real_time=60.0),
    entry(actors=2, batch_size_s=60.0, x_real_time=33.0),
)  # fmt: skip
TWO = KNOWN.entries[1]


def test_a_curve_goes_through_what_was_measured_at_one_setting() -> None:
    assert node_curve(KNOWN, TWO).speeds == pytest.approx((20.0, 34.0, 35.0, 36.0))
    assert node_curve(KNOWN, KNOWN.entries[3]).speeds == pytest.approx((30.0, 60.0))


def test_what_a_run_takes_beside_its_audio_is_left_out_of_the_curve() -> None:
    slow = baseline(entry(), overhead_s=2.0)
    assert node_curve(slow, slow.entries[0]).speeds == pytest.approx((400 / 18,))
    # A sample that took no longer than that says nothing of speed: at most twice.
    all_beside = baseline(entry(), overhead_s=30.0)
    assert node_curve(all_beside, all_beside.entries[0]).speeds == (40.0,)


def test_several_measured_nodes_are_shared_out() -> None:
    several = baseline(entry(actors=4, x_real_time=80.0), nodes=2)
    assert node_curve(several, several.entries[0]).speeds == pytest.approx((20.0, 40.0))


def test_a_fixed_pool_is_predicted_from_its_curve() -> None:
    bounds = Bounds(2, 2, 2, autoscale=False)
    outcome = predict(KNOWN, TWO, 6000.0, 60.0, PaperCluster(), bounds).expected
    assert outcome.makespan_s == pytest.approx(8.0 + 6000 / 34, rel=0.02)
    assert outcome.actor_hours == pytest.approx(2 * outcome.makespan_s / 3600, rel=0.02)


def test_twice_the_nodes_take_half_the_time() -> None:
    bounds = Bounds(autoscale=False)
    one = predict(KNOWN, TWO, 60_000.0, 60.0, PaperCluster(1), bounds).expected
    two = predict(KNOWN, TWO, 60_000.0, 60.0, PaperCluster(2), bounds).expected
    assert two.makespan_s - 8.0 == pytest.approx((one.makespan_s - 8.0) / 2, rel=0.03)


def test_a_low_start_grows_where_it_may() -> None:
    held = predict(KNOWN, TWO, 30_000.0, 60.0, PaperCluster(), Bounds(1, 1, 1)).expected
    free = predict(KNOWN, TWO, 30_000.0, 60.0, PaperCluster(), Bounds(1, 0, 1)).expected
    assert free.makespan_s < 0.75 * held.makespan_s
    assert max(running for _, _, running in free.history) >= 2
    assert max(running for _, _, running in held.history) == 1


def test_nodes_that_come_late_cost_time() -> None:
    there = predict(KNOWN, TWO, 30_000.0, 60.0, PaperCluster(4)).expected
    late = predict(KNOWN, TWO, 30_000.0, 60.0, PaperCluster(4, 0, 1, 100.0)).expected
    assert late.makespan_s > there.makespan_s + 30


def test_a_very_large_job_is_simulated_in_fewer_chunks() -> None:
    found = predict(KNOWN, TWO, 1e8, 60.0, PaperCluster(1, 1), Bounds(autoscale=False))
    assert len(found.workload.chunks_s) <= 20_001
    assert found.expected.makespan_s == pytest.approx(1e8 / 20, rel=0.02)


def test_a_run_is_held_against_what_it_took() -> None:
    found = predict(
        KNOWN, TWO, 6000.0, 60.0, PaperCluster(price_per_actor_hour=0.5),
        Bounds(2, 2, 2, autoscale=False), RealRun("20261123T101010-abcdef", 200.0),
    )  # fmt: skip
    assert found.error == pytest.approx(found.expected.makespan_s / 200 - 1)
    table, plain = found.table(), json.loads(json.dumps(found.to_dict()))
    assert "20261123T101010-abcdef took 3 min 20 s; predicted 3 min" in table
    assert f"({100 * (found.error or 0):+.1f} %)" in table
    assert plain["real_wall_s"] == 200.0
    assert plain["expected"]["cost"] == pytest.approx(0.5 * found.expected.actor_hours)
    for said in ("as the settings say", "Ray's rule", "in hindsight", "cost", "1.67 audio-hours"):
        assert said in table


def test_what_a_job_fixes_is_looked_for_in_the_baseline() -> None:
    wanted = {"ncpu": 1, "precision": "fp32", "stages": "fused", "batch_size_s": 30.0}
    assert setting_like(KNOWN, wanted).actors == 4
    assert setting_like(KNOWN, {"batch_size_s": 70.0}).batch_size_s == 60.0
    assert setting_like(KNOWN, {"precision": "int8"}).x_real_time == 60.0
    with pytest.raises(ConfigError, match=r"no measurement with ncpu=3.*ray-asr tune"):
        setting_like(KNOWN, {"ncpu": 3})


def test_a_baseline_from_before_its_load_time_was_kept() -> None:
    old = baseline(entry(start_s=None))
    found = predict(old, old.entries[0], 600.0, 60.0, PaperCluster(), Bounds(autoscale=False))
    assert found.workload.load_s == 6.0
    older = baseline(entry(start_s=None, load_s=None))
    with pytest.raises(ConfigError, match="how long actors take to load"):
        predict(older, older.entries[0], 600.0, 60.0, PaperCluster())


@pytest.mark.parametrize("wrong", [
    {"nodes": 0}, {"nodes": -2}, {"actors_each": -1}, {"node_s": -1.0},
    {"price_per_actor_hour": -0.1}, {"nodes": 2, "nodes_at_start": 3},
])  # fmt: skip
def test_impossible_clusters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PaperCluster(**wrong)


@pytest.mark.parametrize(("audio_s", "chunk_s"), [(0.0, 60.0), (60.0, 0.0)])
def test_nothing_to_predict_is_refused(audio_s: float, chunk_s: float) -> None:
    with pytest.raises(PlanError, match="nothing to predict"):
        predict(KNOWN, TWO, audio_s, chunk_s, PaperCluster())


def test_more_actors_than_the_cluster_holds_are_refused() -> None:
    with pytest.raises(PlanError, match=r"at least 9 actors.*hold 4"):
        predict(KNOWN, TWO, 600.0, 60.0, PaperCluster(), Bounds(least=9))
