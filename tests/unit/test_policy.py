from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.paper_job import Curve, Workload
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.signals import Decision, Signals
from ray_asr.control.simulated_cluster import Simulation
from ray_asr.errors import PlanError

TWO_CORES = Curve((20.0, 34.0, 35.0, 34.0, 33.0, 32.5, 32.0, 31.5))


def seen(time_s: float, running: int, **more: object) -> Signals:
    """A moment of a steady run with room for eight: 10 s of audio a second from each actor."""
    moment = Signals(
        time_s=time_s, running=running, pending=0, lost=0, audio_done_s=10.0 * running * time_s,
        audio_left_s=1e6, queued=1000, in_flight=2 * running, load_s=5.0, room=8,
        chunks_done=int(running * time_s), busy_s=running * time_s,
    )  # fmt: skip
    return replace(moment, **more)  # pyright: ignore[reportArgumentType]


class Watched:
    """A policy whose signals pass through `change`, and whose decisions are kept."""

    def __init__(self, policy: ScalingPolicy, change: dict[str, object] | None = None) -> None:
        self._policy, self._change = policy, change or {}
        self.decisions: list[tuple[Signals, Decision]] = []

    def decide(self, signals: Signals) -> Decision:
        signals = replace(signals, **self._change)  # pyright: ignore[reportArgumentType]
        decision = self._policy.decide(signals)
        self.decisions.append((signals, decision))
        return decision

    def targets(self) -> list[int]:
        """Targets while chunks waited, without repetitions."""
        targets: list[int] = []
        for signals, decision in self.decisions:
            if signals.queued and (not targets or decision.target != targets[-1]):
                targets.append(decision.target)
        return targets

    def at(self, time_s: float) -> int:
        return [d.target for s, d in self.decisions if s.time_s <= time_s][-1]


def two_cores(seed: int = 0, **more: object) -> Workload:
    work = Workload(
        "two cores, room for eight", (60.0,) * 500, TWO_CORES, load_s=5.0, nodes=1, room=8,
        core_share=0.5, noise=0.2, seed=seed,
    )  # fmt: skip
    return replace(work, **more)  # pyright: ignore[reportArgumentType]


def run(work: Workload, options: PolicyOptions, **change: object) -> Watched:
    watched = Watched(ScalingPolicy(options), change)
    Simulation(work, watched).run()
    return watched


# Bounds.


@pytest.mark.parametrize("options", [{"least": 0}, {"least": 5, "most": 4}])
def test_impossible_bounds_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="actors were asked for"):
        PolicyOptions(**options)


def test_begins_with_what_there_is_room_for() -> None:
    first = Signals(0.0, 0, 0, 0, 0.0, None, 0, 0, room=512)
    assert ScalingPolicy().decide(first).target == 512


def test_waits_for_the_room_to_be_known() -> None:
    policy = ScalingPolicy()
    first = Signals(0.0, 0, 0, 0, 0.0, 1e5, 0, 0)
    assert policy.decide(first).target == 1
    assert policy.decide(replace(first, time_s=1.0, pending=1, room=16)).target == 16


def test_asks_for_more_than_there_is_room_for_where_nodes_come() -> None:
    policy = ScalingPolicy(PolicyOptions(most=64))
    assert policy.decide(Signals(0.0, 0, 0, 0, 0.0, 1e6, 500, 0, node_s=60.0, room=4)).target == 64


def test_no_more_actors_than_chunks() -> None:
    decision = ScalingPolicy().decide(
        Signals(0.0, 0, 0, 0, 0.0, 300.0, 5, 0, room=64, all_read=True)
    )
    assert decision.target == 5
    assert "5 chunks" in decision.reason


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_signals_give_a_target_within_bounds_and_a_reason(data: st.DataObject) -> None:
    least = data.draw(st.integers(1, 4))
    most = data.draw(st.integers(least, 40))
    policy = ScalingPolicy(PolicyOptions(least=least, most=most))
    share = st.none() | st.floats(0.0, 1.0)
    time_s, done_s, chunks, lost = 0.0, 0.0, 0, 0
    for _ in range(data.draw(st.integers(1, 30))):
        time_s += data.draw(st.floats(0.0, 60.0))
        done_s += data.draw(st.floats(0.0, 500.0))
        chunks += data.draw(st.integers(0, 30))
        lost += data.draw(st.integers(0, 1))
        decision = policy.decide(
            Signals(
                time_s, data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40)), lost, done_s,
                data.draw(st.none() | st.floats(0.0, 1e5)), data.draw(st.integers(0, 50)),
                data.draw(st.integers(0, 80)), data.draw(st.none() | st.floats(0.0, 100.0)),
                room=data.draw(st.integers(0, 50)), nodes=data.draw(st.integers(0, 5)),
                cpu_percent=data.draw(st.none() | st.floats(0.0, 100.0)), reserve_percent=5.0,
                memory_share=data.draw(share), gpu_memory_share=data.draw(share),
                idle=data.draw(st.integers(0, 40)),
                granted_percent=data.draw(st.none() | st.floats(0.0, 400.0)),
                chunks_done=data.draw(st.none() | st.just(chunks)),
                all_read=data.draw(st.sampled_from([None, True, False])),
            )
        )  # fmt: skip
        assert 1 <= decision.target <= most
        assert decision.reason


def test_the_same_signals_give_the_same_decisions() -> None:
    first, second = run(two_cores(), PolicyOptions()), run(two_cores(), PolicyOptions())
    assert first.decisions == second.decisions


# The knee.


@pytest.mark.parametrize("seed", range(4))
def test_eight_on_two_cores_become_two_or_three_within_a_minute(seed: int) -> None:
    watched = run(two_cores(seed), PolicyOptions(start=8))
    assert watched.at(0.0) == 8
    assert watched.at(60.0) in (2, 3)
    assert watched.at(600.0) in (2, 3)


@pytest.mark.parametrize("seed", range(4))
def test_one_on_two_cores_becomes_two_or_three_within_a_minute(seed: int) -> None:
    watched = run(two_cores(seed), PolicyOptions(start=1))
    assert watched.at(0.0) == 1
    assert watched.at(60.0) in (2, 3)
    assert watched.at(600.0) in (2, 3)


@pytest.mark.parametrize("start", [1, 8])
@pytest.mark.parametrize("unknown", [
    {"busy_s": None},
    {"busy_s": None, "chunks_done": None},
    {"audio_left_s": None},
    {"cpu_percent": None, "granted_percent": None},
    {"granted_percent": None},
])  # fmt: skip
def test_the_knee_is_found_without_any_one_signal(start: int, unknown: dict[str, object]) -> None:
    watched = run(two_cores(), PolicyOptions(start=start), **unknown)
    assert watched.at(450.0) in (2, 3, 4)


def test_a_machine_that_is_as_fast_with_each_more_keeps_them_all() -> None:
    even = Curve(tuple(20.0 * n for n in range(1, 9)))
    work = two_cores(curve=even, core_share=0.11, chunks_s=(60.0,) * 4000)
    watched = run(work, PolicyOptions())
    assert watched.at(0.0) == 8
    assert watched.targets()[-1] == 8
    held = [d.target for s, d in watched.decisions if s.queued]
    assert sum(target == 8 for target in held) > 0.9 * len(held)


def test_a_short_job_is_not_spent_on_trials() -> None:
    even = Curve(tuple(20.0 * n for n in range(1, 9)))
    watched = run(two_cores(curve=even, core_share=0.11, chunks_s=(60.0,) * 160), PolicyOptions())
    assert watched.targets() == [8]


def test_noise_of_ten_percent_moves_nothing_once_the_knee_is_known() -> None:
    policy, draw = ScalingPolicy(PolicyOptions(start=1)), random.Random(3)
    signals = [seen(float(t), 1, room=1) for t in range(600)]
    for signal in signals:
        policy.decide(signal)
    done_s, targets = 6000.0, set[int]()
    for second in range(600, 3000):
        if second % 60 == 0:
            pace = draw.uniform(9.0, 11.0)
        done_s += pace if second > 600 else 10.0
        targets.add(policy.decide(seen(float(second), 1, room=1, audio_done_s=done_s)).target)
    assert targets == {1}


def test_a_knee_that_moves_is_looked_for_again() -> None:
    policy, size, done_s, busy_s, chunks = ScalingPolicy(), 8, 0.0, 0.0, 0.0
    sizes: list[int] = []
    for second in range(3000):
        knee = 3.0 if second < 1000 else 8.0
        speed = 10.0 * min(size, knee)
        done_s, busy_s, chunks = done_s + speed, busy_s + size, chunks + speed / 10
        crowd = {"cpu_percent": 100.0 * min(1.0, size / knee) * 0.9, "reserve_percent": 5.0}
        size = policy.decide(
            seen(float(second), size, audio_done_s=done_s, busy_s=busy_s, audio_left_s=1e7,
                 chunks_done=int(chunks), **crowd)
        ).target  # fmt: skip
        sizes.append(size)
    assert sizes[999] in (3, 4)
    assert sizes[-1] >= 7


# Losses and nodes.


def test_a_lost_actor_is_asked_for_again() -> None:
    policy = ScalingPolicy()
    for second in range(100):
        policy.decide(seen(float(second), 8))
    target = policy.decide(seen(100.0, 8)).target
    for second in range(101, 130):
        decision = policy.decide(seen(float(second), 5, lost=3, pending=3, audio_done_s=8000.0))
        assert decision.target >= target


def test_what_was_measured_before_a_loss_is_not_mixed_with_what_comes_after() -> None:
    policy = ScalingPolicy()
    for second in range(6):
        policy.decide(seen(float(second), 8))
    assert policy._window is not None
    policy.decide(seen(6.0, 8, lost=1))
    assert policy._window is None


def test_nodes_that_come_get_as_many_actors_as_the_others() -> None:
    policy = ScalingPolicy()
    for second in range(200):
        policy.decide(seen(float(second), 8))
    assert policy.decide(seen(200.0, 8, room=16)).target == 16


# Starts and ends.


def test_no_start_that_cannot_pay_for_its_load_time() -> None:
    policy = ScalingPolicy(PolicyOptions(start=2))
    for second in range(3):
        policy.decide(seen(float(second), 2, load_s=60.0))
    decision = policy.decide(
        seen(20.0, 2, load_s=60.0, audio_left_s=1000.0, lost=0, cpu_percent=20.0)
    )
    assert decision.target == 2  # 50 s are left
    policy._size = 8
    decision = policy.decide(
        seen(21.0, 2, load_s=60.0, audio_left_s=1000.0, cpu_percent=20.0, queued=100)
    )
    assert decision.target == 2
    assert "load time" in decision.reason


def test_who_has_no_chunk_is_given_up_at_the_end() -> None:
    policy = ScalingPolicy()
    for second in range(20):
        policy.decide(seen(float(second), 8))
    decision = policy.decide(seen(20.0, 8, queued=0, in_flight=3, idle=5, all_read=True))
    assert decision.target == 3
    assert "no chunk waits" in decision.reason


def test_an_empty_queue_is_no_end_while_reading_goes_on() -> None:
    policy = ScalingPolicy()
    for second in range(20):
        policy.decide(seen(float(second), 8))
    assert policy.decide(seen(20.0, 8, queued=0, in_flight=3, idle=5, all_read=False)).target >= 7


# Memory.


@pytest.mark.parametrize("signal", ["memory_share", "gpu_memory_share"])
def test_full_memory_costs_an_actor_at_a_time(signal: str) -> None:
    policy = ScalingPolicy()
    policy.decide(seen(0.0, 8))
    first = policy.decide(seen(1.0, 8, **{signal: 0.97}))
    assert first.target == 7
    assert "memory" in first.reason
    assert policy.decide(seen(2.0, 7, **{signal: 0.97})).target == 7  # not yet seen in the memory
    assert policy.decide(seen(20.0, 7, **{signal: 0.97})).target == 6
    assert policy.decide(seen(40.0, 6, **{signal: 0.5})).target <= 6


def test_full_memory_leaves_the_last_actor() -> None:
    policy = ScalingPolicy()
    assert policy.decide(seen(0.0, 0, memory_share=0.99)).target == 1
    assert policy.decide(seen(60.0, 1, memory_share=0.99)).target == 1


# What a machine on paper does not show.


def followed(
    rate: Callable[[int, float], float],
    until_s: float = 400.0,
    **more: Callable[[int], object],
) -> list[tuple[float, int]]:
    """Times and targets of a pool that begins with eight of eight and follows at once.

    Args:
        rate: audio delivered a second by so many actors at a time.
        until_s: when it ends.
        more: other signals, by the number of actors.
    """
    policy = ScalingPolicy(PolicyOptions(most=8, start=8))
    running, time_s, done_s, chunks = 8, 0.0, 0.0, 0.0
    targets: list[tuple[float, int]] = []
    while time_s < until_s:
        others = {name: of(running) for name, of in more.items()}
        signals = seen(
            time_s, running, audio_done_s=done_s, chunks_done=int(chunks), busy_s=None,
            audio_left_s=4e4, load_s=10.0, **others,
        )  # fmt: skip
        running = policy.decide(signals).target
        targets.append((time_s, running))
        time_s += 0.5
        done_s += 0.5 * rate(running, time_s)
        chunks += 0.5 * rate(running, time_s) / 10.0
    return targets


def test_actors_that_chunks_do_not_come_for_are_given_up() -> None:
    """Reading brings 60 s a second, an actor does 30: two have chunks, whatever their number."""
    targets = followed(
        lambda running, _: min(60.0, 30.0 * running),
        idle=lambda running: max(0, running - 2),
        cpu_percent=lambda _: 60.0,
    )
    assert targets[-1][1] in (2, 3)
    assert next(at for at, size in targets if size <= 4) < 60


def test_where_the_cores_are_full_a_faster_past_is_no_reason_to_grow() -> None:
    """What had been read while models loaded goes fast; then reading wants its share."""
    targets = followed(
        lambda _, time_s: 140.0 if time_s < 30 else 110.0,
        cpu_percent=lambda _: 99.0,
        granted_percent=lambda running: 100.0 * running / 2,
    )
    sizes = [size for _, size in targets]
    smallest = sizes.index(min(sizes))
    assert sizes[smallest] <= 2
    assert max(sizes[smallest:]) <= 2
