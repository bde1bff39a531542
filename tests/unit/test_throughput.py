from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.throughput import Reading, Window


def filled(actors: int, rate: float, chunk_s: float, *, work: bool, seed: int = 0) -> Window:
    """A minute of actors that each deliver chunks one after the other, none in step."""
    draw = random.Random(seed)
    each = rate / actors
    ends: list[float] = []
    for _ in range(actors):
        at_s = -draw.random() * chunk_s / each
        while at_s < 60:
            at_s += chunk_s / each
            ends.append(at_s)
    window = Window(actors)
    for second in range(61):
        done = sum(0 < end <= second for end in ends)
        window.add(second, done * chunk_s, done * chunk_s / each if work else None)
    return window


@pytest.mark.parametrize("work", [True, False])
@given(actors=st.integers(1, 40), rate=st.floats(20.0, 400.0), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_rate_lies_within_four_errors(work: bool, actors: int, rate: float, seed: int) -> None:
    chunk_s = 6 * rate / actors  # ten rounds in the minute
    reading = filled(actors, rate, chunk_s, work=work, seed=seed).reading(rounds=10)
    assert reading is not None
    assert abs(reading.rate - rate) <= 4 * reading.error
    assert reading.error < 0.2 * rate


def test_the_time_spent_tells_sooner_than_deliveries_do() -> None:
    by_work = filled(4, 80.0, 60.0, work=True).reading(rounds=20)
    by_deliveries = filled(4, 80.0, 60.0, work=False).reading(rounds=20)
    assert by_work is not None
    assert by_deliveries is not None
    assert abs(by_work.rate - 80.0) < 1e-6 < abs(by_deliveries.rate - 80.0)


def test_a_few_moments_are_no_reading() -> None:
    window = Window(2)
    for second in range(3):
        window.add(second, 10.0 * second)
    assert window.reading(rounds=1) is None


def test_nothing_delivered_is_no_reading_of_work() -> None:
    window = Window(2)
    for second in range(10):
        window.add(second, 0.0, 0.0)
    assert window.reading(rounds=1) is None


def test_a_long_window_keeps_its_rate_and_stays_small() -> None:
    window = Window(3)
    for second in range(5000):
        window.add(second, 7.0 * second)
    reading = window.reading(rounds=1000)
    assert reading is not None
    assert reading.rate == pytest.approx(7.0)
    assert len(window._points) <= 240


def test_each_is_the_mean_of_the_actors() -> None:
    assert Reading(4, 80.0, 1.0).each == 20.0
