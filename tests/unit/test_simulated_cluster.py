from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.paper_job import Curve, Workload
from ray_asr.control.rival_policies import FixedSize
from ray_asr.control.signals import Decision, Signals
from ray_asr.control.simulated_cluster import Simulation

PLAIN = Workload(
    "plain", (60.0,) * 12, Curve((10.0, 20.0, 30.0)), load_s=5.0, nodes=1, room=3,
    load_spread=0.0, noise=0.0, price=2.0,
)  # fmt: skip


class Script:
    """Targets by time; keeps what it is told."""

    def __init__(self, *targets: tuple[float, int]) -> None:
        self._targets = targets
        self.seen: list[Signals] = []

    def decide(self, signals: Signals) -> Decision:
        self.seen.append(signals)
        return Decision([n for at_s, n in self._targets if signals.time_s >= at_s][-1], "script")


def test_chunks_take_what_the_curve_says() -> None:
    outcome = Simulation(PLAIN, FixedSize(3)).run()
    assert outcome.makespan_s == pytest.approx(5.0 + 12 * 60 / 30)
    assert outcome.actor_hours == pytest.approx(3 * outcome.makespan_s / 3600)
    assert outcome.cost == pytest.approx(2 * outcome.actor_hours)


def test_actors_on_one_node_slow_each_other() -> None:
    shared = replace(PLAIN, curve=Curve((10.0, 15.0, 15.0)))
    assert Simulation(shared, FixedSize(3)).run().makespan_s == pytest.approx(5 + 12 * 60 / 15)
    assert Simulation(shared, FixedSize(1)).run().makespan_s == pytest.approx(5 + 12 * 60 / 10)


def test_actors_on_two_nodes_do_not() -> None:
    shared = replace(PLAIN, curve=Curve((10.0, 15.0, 15.0)), nodes=2)
    assert Simulation(shared, FixedSize(2)).run().makespan_s == pytest.approx(5 + 12 * 60 / 20)


def test_a_call_costs_beside_its_audio() -> None:
    costly = replace(PLAIN, curve=Curve((10.0,), call_s=2.0))
    assert Simulation(costly, FixedSize(1)).run().makespan_s == pytest.approx(5 + 12 * (6 + 2))


def test_no_more_actors_than_there_is_room_for() -> None:
    script = Script((0.0, 9))
    Simulation(PLAIN, script).run()
    assert max(signals.running for signals in script.seen) == 3
    assert script.seen[-1].pending == 6


def test_nodes_come_when_they_are_asked_for() -> None:
    elastic = replace(PLAIN, nodes=4, nodes_at_start=1, node_s=30.0, chunks_s=(60.0,) * 400)
    script = Script((0.0, 9))
    Simulation(elastic, script).run()
    assert {s.nodes for s in script.seen if s.time_s < 30} == {1}
    assert {s.nodes for s in script.seen if s.time_s > 30} == {3}  # nine actors fill three
    assert max(s.running for s in script.seen) == 9


def test_shrinking_gives_up_actors_without_losing_a_chunk() -> None:
    long = replace(PLAIN, chunks_s=(60.0,) * 60)
    script = Script((0.0, 3), (30.0, 1))
    Simulation(long, script).run()
    assert {s.running for s in script.seen if 11 < s.time_s < 30} == {3}
    assert {s.running for s in script.seen if s.time_s > 50} == {1}
    assert script.seen[-1].chunks_done is not None
    assert script.seen[-1].chunks_done >= 58


def test_a_loading_actor_is_given_up_before_one_that_works() -> None:
    script = Script((0.0, 1), (20.0, 3), (21.0, 1))
    Simulation(replace(PLAIN, chunks_s=(60.0,) * 30), script).run()
    assert max(s.running for s in script.seen) == 1


def test_a_lost_node_costs_its_chunks_in_work_and_no_more() -> None:
    two = replace(PLAIN, nodes=2, chunks_s=(60.0,) * 200, losses=((50.0, 0),), node_s=20.0)
    script = Script((0.0, 6))
    outcome = Simulation(two, script).run()
    assert outcome.makespan_s > Simulation(replace(two, losses=()), FixedSize(6)).run().makespan_s
    assert script.seen[-1].lost == 3
    assert {s.running for s in script.seen if 51 < s.time_s < 70} == {3}
    assert script.seen[-10].running == 6


def test_the_same_seed_gives_the_same_run() -> None:
    noisy = replace(PLAIN, noise=0.3, load_spread=0.2, chunks_s=(60.0, 30.0, 90.0) * 20)
    assert Simulation(noisy, FixedSize(3)).run() == Simulation(noisy, FixedSize(3)).run()
    other = replace(noisy, seed=1)
    assert Simulation(noisy, FixedSize(3)).run() != Simulation(other, FixedSize(3)).run()


@given(
    chunks=st.lists(st.floats(1.0, 300.0), min_size=1, max_size=40),
    nodes=st.integers(1, 4), room=st.integers(1, 3), seed=st.integers(0, 99),
    targets=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    losses=st.lists(st.tuples(st.floats(0.0, 300.0), st.integers(0, 9)), max_size=4),
    balanced=st.booleans(),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_chunk_is_done_whatever_happens(
    chunks: list[float], nodes: int, room: int, seed: int, targets: list[int],
    losses: list[tuple[float, int]], balanced: bool,
) -> None:  # fmt: skip
    work = Workload(
        "any", tuple(chunks), Curve((10.0, 15.0)), load_s=7.0, nodes=nodes, room=room,
        losses=tuple(losses), node_s=11.0, seed=seed,
    )  # fmt: skip
    script = Script(*((20.0 * i, n) for i, n in enumerate(targets)))
    outcome = Simulation(work, script, balanced=balanced).run()
    places = nodes * room
    longest_s = sum(map(work.curve.service_s, chunks))
    assert outcome.makespan_s >= longest_s / 2 / places
    for signals in script.seen:
        assert 0 <= signals.running <= places
        assert signals.in_flight <= 2 * signals.running
        assert 0 <= signals.idle <= signals.running
        assert signals.queued + signals.in_flight + (signals.chunks_done or 0) == len(chunks)


def test_a_curve_goes_through_what_was_measured() -> None:
    curve = Curve.through({1: 10.0, 2: 18.0, 4: 20.0})
    assert curve.speeds == pytest.approx((10.0, 18.0, 19.0, 20.0))
    assert Curve.through({2: 18.0}).speeds == pytest.approx((9.0, 18.0))
