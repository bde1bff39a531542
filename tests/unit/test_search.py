from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ray_asr.control.search import Bracket, Trial
from ray_asr.control.throughput import Reading


def bracket(**rates: float) -> Bracket:
    """Readings that are as good as exact: `bracket(n8=100)` is 100 with 8 actors."""
    made = Bracket(slack=0.025, knee_share=0.3)
    for name, rate in rates.items():
        made.add(Reading(int(name[1:]), rate, 0.001 * rate))
    return made


def found(speed: list[float], start: int, head_room: float | None = None, nodes: int = 1) -> int:
    """Where the search ends on an exact curve of throughput against actors, tried step by step."""
    made, size = Bracket(slack=0.025, knee_share=0.3), start
    for _ in range(60):
        made.add(Reading(size, speed[size - 1], 0.001 * speed[size - 1]))
        size, _ = made.next_size(len(speed), head_room, nodes)
        if size == made.enough().actors:
            return size
    raise AssertionError(f"never ended: {made.readings}")


@given(knee=st.integers(1, 40), room=st.integers(1, 64), start=st.integers(1, 64))
def test_finds_the_knee_from_above_and_below(knee: int, room: int, start: int) -> None:
    speed = [float(min(actors, knee)) for actors in range(1, room + 1)]
    size = found(speed, min(start, room))
    best = min(knee, room)
    assert speed[size - 1] >= 0.9 * max(speed)
    assert size <= max(best + 1, math.ceil(1.12 * best))


@given(
    knee=st.floats(1.0, 8.0), sharp=st.floats(2.0, 16.0), falls=st.floats(0.0, 0.05),
    start=st.integers(1, 8),
)  # fmt: skip
@example(knee=3.375, sharp=10.0, falls=0.03125, start=7)  # 3 are as fast as 7, and 4 are faster
@example(knee=4.77, sharp=15.7, falls=0.047, start=4)  # 4 are as fast as 8, and 5 are faster
def test_ends_near_the_best_of_any_roofline(
    knee: float, sharp: float, falls: float, start: int
) -> None:
    speed = [
        n / (1 + (n / knee) ** sharp) ** (1 / sharp) * (1 - falls * max(0.0, n - knee))
        for n in range(1, 9)
    ]
    assert speed[found(speed, start) - 1] >= 0.9 * max(speed)


def test_a_step_that_brings_too_little_is_taken_back() -> None:
    made = bracket(n1=10.0, n2=17.0, n3=17.1, n4=17.2)
    assert made.enough().actors == 2
    assert made.next_size(8, head_room=None)[0] == 2


def test_the_top_between_a_size_below_it_and_one_beyond_it_is_looked_for() -> None:
    made = bracket(n2=20.0, n3=29.2, n7=29.9, n8=28.9)
    assert made.enough().actors == 3
    size, reason = made.next_size(8, head_room=None)
    assert size == 4
    assert "may be the top" in reason
    flat = bracket(n2=20.0, n3=29.2, n7=29.3, n8=29.3)
    assert flat.next_size(8, head_room=None)[0] == 3, "nothing falls: there is no top to look for"


def test_idle_cores_say_how_far_to_grow() -> None:
    assert bracket(n1=10.0).next_size(64, head_room=6.0)[0] == 6
    assert bracket(n1=10.0).next_size(64, head_room=None)[0] == 2


def test_full_cores_stop_growth() -> None:
    size, reason = bracket(n2=20.0, n1=10.0).next_size(8, head_room=1.0)
    assert size == 2
    assert "enough" in reason


def test_taken_cores_are_given_back_at_once() -> None:
    assert bracket(n8=30.0).next_size(8, head_room=0.95, crowded=4.0)[0] == 2


def test_actors_on_several_nodes_are_as_many_on_each() -> None:
    made = bracket(n48=480.0, n43=478.0)
    assert made.next_size(48, head_room=1.0, nodes=8)[0] == 24


def test_a_first_step_down_is_small() -> None:
    assert bracket(n64=640.0).next_size(64, head_room=1.0)[0] == 60


def test_a_lucky_look_is_not_the_best() -> None:
    made = bracket(n8=100.0)
    made.add(Reading(7, 108.0, 12.0))
    assert made.best().actors == 8


@pytest.mark.parametrize(("rate", "error", "clear"), [
    (99.5, 0.5, True),
    (60.0, 2.0, True),
    (96.0, 3.0, False),
    (101.0, 5.0, False),
])  # fmt: skip
def test_a_trial_is_judged_when_it_is_clear(rate: float, error: float, clear: bool) -> None:
    trial = Trial(Reading(8, 100.0, 0.5), 7, allowed=0.04)
    assert trial.judged(Reading(7, rate, error), confidence=2.5) is clear


def test_a_doubtful_size_has_a_second_trial_and_no_third() -> None:
    made = bracket(n8=100.0)
    made.add(Reading(4, 96.0, 3.0))
    made.doubt(confidence=2.5)
    assert 4 not in made.readings
    made.add(Reading(4, 96.0, 3.0))
    made.doubt(confidence=2.5)
    assert 4 in made.readings
