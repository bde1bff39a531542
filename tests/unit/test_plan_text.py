"""The dry run's arithmetic and its table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ray_asr.config import Config, with_settings
from ray_asr.control.plan import ClusterResources, Node, Plan, make_plan
from ray_asr.control.plan_text import NO_BASELINE, duration, plan_report
from tests.plans import Entry, Fastest, Measured

CLUSTER = ClusterResources((Node(8, 8, 8, memory_gb=64.0),) * 2, 8.0)


def plan_of(**settings: Any) -> Plan:
    return make_plan(CLUSTER, Measured(), with_settings(Config(), settings))


def test_each_number_stands_with_its_reason() -> None:
    plan = plan_of()
    words = " ".join(plan_report(plan, CLUSTER).table().split())
    for name, reason in plan.reasons.items():
        assert name in words
        assert reason in words


def test_no_line_is_wider_than_a_terminal() -> None:
    table = plan_report(plan_of(max_actors=10_000), CLUSTER, 3600.0, Fastest(), 0.05, 2.0).table()
    assert max(map(len, table.splitlines())) <= 100


def test_without_a_baseline_no_speed_is_made_up() -> None:
    report = plan_report(plan_of(), CLUSTER, 3600.0, price_per_cpu_hour=1.0)
    assert report.x_real_time is report.wall_s is report.actor_hours is report.cost is None
    assert NO_BASELINE in report.table()


def test_speed_time_and_cost_follow_from_the_baseline() -> None:
    plan = plan_of(ncpu=2, num_actors=6, autoscale=False)
    report = plan_report(plan, CLUSTER, 180 * 3593.0, Fastest(), 0.05, 2.0)
    assert (report.actors, report.x_real_time) == (6, 180.0)  # twice the baseline's three actors
    assert report.wall_s == pytest.approx(3600.0)  # 7 s of them to load
    assert report.actor_hours == pytest.approx(6.0)
    assert report.cost == pytest.approx(16 * 0.05)  # every core of the cluster, and no GPU
    assert "180 audio-hours an hour, with 6 actors" in report.table()
    assert "1 h 00 min" in report.table()


def test_gpus_are_priced_and_their_actors_counted() -> None:
    cluster = ClusterResources((Node(16, 16, 16, gpus=2),))
    settings = with_settings(Config(), {"device": "cuda", "num_gpus": 1})
    plan = make_plan(cluster, None, settings)
    one_gpu = Fastest(Entry(ncpu=4, actors=1, x_real_time=1000.0))
    report = plan_report(plan, cluster, 2000 * 3600.0, one_gpu, price_per_gpu_hour=3.0)
    assert (report.x_real_time, report.wall_s) == (2000.0, 3600.0)
    assert report.cost == pytest.approx(6.0)


def test_a_wrong_start_that_scales_is_expected_to_reach_the_baseline() -> None:
    few = plan_of(ncpu=2, num_actors=1)
    assert plan_report(few, CLUSTER, None, Fastest()).x_real_time == 90.0
    fixed = plan_of(ncpu=2, num_actors=1, autoscale=False)
    assert plan_report(fixed, CLUSTER, None, Fastest()).x_real_time == 30.0


def test_actors_beyond_the_cores_are_expected_to_add_nothing() -> None:
    claimed = ClusterResources((Node(40, 4, 4),))
    crowded = make_plan(claimed, None, with_settings(Config(), {"ncpu": 2, "num_actors": 12}))
    assert crowded.recognize.start == 12
    assert plan_report(crowded, claimed, None, Fastest()).x_real_time == 60.0


def test_warnings_stand_in_the_table() -> None:
    claimed = ClusterResources((Node(40, 4, 4),))
    plan = make_plan(claimed, None, Config())
    assert "warning: Ray claims 40 CPUs" in plan_report(plan, claimed).table()


def test_a_report_is_written_as_json() -> None:
    written = json.loads(json.dumps(plan_report(plan_of(), CLUSTER, 60.0, Fastest()).to_dict()))
    assert written["plan"]["ncpu"] == 1
    assert written["cluster"] == {"nodes": 2, "cores": 16, "gpus": 0, "object_store_gb": 8.0}
    assert written["x_real_time"] > 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3600, "1 h 00 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
