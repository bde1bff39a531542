"""The size of batches while a job runs: up for speed, down for memory, steady in noise."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.job.batch_size import BatchBounds, BatchSize


def run(
    size: BatchSize,
    speed: Callable[[float], float],
    calls: int = 200,
    noise: float = 0.0,
    seed: int = 0,
    memory: Callable[[float], float] = lambda size_s: 0.5,
) -> list[float]:
    """The sizes used by calls that run at `speed` of their size, give or take the noise."""
    draw = random.Random(seed)
    used: list[float] = []
    for _ in range(calls):
        size_s = size.current_s
        used.append(size_s)
        rate = speed(size_s) * draw.uniform(1 - noise, 1 + noise)
        size.observe(0.95 * size_s, 60.0, 60.0 / rate, memory(size_s))
    return used


def test_it_grows_to_the_most_while_each_step_is_faster() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    used = run(size, lambda size_s: size_s)
    assert size.settled_s == size.current_s == 300.0
    assert max(used) == 300.0


def test_a_step_that_does_not_help_is_taken_back_and_not_tried_again() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    used = run(size, lambda size_s: 20.0)
    tried = [size_s for size_s in used if size_s > 30.0]
    assert size.current_s == 30.0
    assert len(tried) == 12
    assert max(used) < 45.0


def test_it_stops_behind_the_knee() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    run(size, lambda size_s: min(size_s, 80.0), noise=0.05)
    assert 60.0 <= size.settled_s <= 120.0


def test_noise_of_ten_percent_moves_it_hardly_ever() -> None:
    moved = 0
    for seed in range(300):
        size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
        run(size, lambda size_s: 20.0, calls=60, noise=0.1, seed=seed)
        moved += size.settled_s != 30.0
    assert moved <= 9


def test_a_real_gain_is_found_in_the_same_noise() -> None:
    found = 0
    for seed in range(100):
        size = BatchSize(BatchBounds(30.0, 30.0, 42.0))
        run(size, lambda size_s: 20.0 if size_s < 40.0 else 24.0, calls=40, noise=0.1, seed=seed)
        found += size.settled_s == 42.0
    assert found >= 90


def test_a_machine_that_slows_down_in_the_trial_does_not_hide_the_gain() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 42.0))
    speeds = iter(20.0 * 0.99**n for n in range(100))
    run(size, lambda size_s: next(speeds) * (1.0 if size_s < 40.0 else 1.3), calls=40)
    assert size.settled_s == 42.0


def test_it_comes_down_while_memory_is_too_full_and_stays_down() -> None:
    size = BatchSize(BatchBounds(300.0, 30.0, 300.0))
    run(size, lambda size_s: size_s, memory=lambda size_s: 0.95 if size_s > 140.0 else 0.5)
    assert 60.0 <= size.settled_s <= 140.0


def test_memory_frees_late_and_one_step_down_waits_for_it() -> None:
    size = BatchSize(BatchBounds(300.0, 30.0, 300.0))
    used = run(size, lambda size_s: 20.0, calls=7, memory=lambda size_s: 0.95)
    assert used == [300.0] * 4 + [200.0] * 3


def test_no_trial_begins_where_memory_is_nearly_full() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    assert set(run(size, lambda size_s: size_s, memory=lambda size_s: 0.85)) == {30.0}


def test_memory_that_a_trial_fills_ends_the_trial() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    used = run(size, lambda size_s: size_s, memory=lambda size_s: 0.95 if size_s > 30.0 else 0.5)
    assert sum(size_s > 30.0 for size_s in used) == 1
    assert size.settled_s == 30.0


def test_half_of_what_did_not_fit_is_the_most_from_then_on() -> None:
    size = BatchSize(BatchBounds(60.0, 30.0, 300.0))
    assert size.too_large(58.0)
    assert size.current_s == 29.0
    assert set(run(size, lambda size_s: size_s)) == {29.0}


def test_a_batch_that_is_too_large_in_a_trial_ends_the_trial_alone() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    run(size, lambda size_s: size_s, calls=4)
    assert size.current_s == pytest.approx(42.0)
    assert size.too_large(62.0) is False  # of a batch of one long segment
    assert size.current_s == 30.0


def test_what_did_not_fit_but_was_no_larger_than_is_allowed_changes_nothing() -> None:
    size = BatchSize(30.0)
    assert size.too_large(90.0) is False
    assert size.current_s == 30.0


def test_batches_that_rows_do_not_fill_say_nothing() -> None:
    size = BatchSize(BatchBounds(300.0, 30.0, 1200.0))
    for _ in range(100):
        size.observe(40.0, 40.0, 1.0)
        assert size.current_s == 300.0


def test_a_trial_that_rows_do_not_fill_is_given_up() -> None:
    size = BatchSize(BatchBounds(30.0, 30.0, 300.0))
    for _ in range(100):
        size.observe(28.0, 28.0, 1.0)
    assert size.settled_s == 30.0
    # Its own turns are too large for the rows: most calls are the base's.
    used = []
    for _ in range(40):
        used.append(size.current_s)
        size.observe(28.0, 28.0, 1.0)
    assert 30.0 in used


def test_a_plain_number_changes_only_where_memory_does_not_hold_it() -> None:
    size = BatchSize(60.0)
    assert set(run(size, lambda size_s: size_s, memory=lambda size_s: 0.99)) == {60.0}
    assert size.too_large(60.0)
    assert size.current_s == 30.0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["observe", "too_large"]),
        st.floats(0.1, 400.0),
        st.floats(0.0, 100.0),
        st.floats(0.01, 100.0),
        st.none() | st.floats(0.0, 1.0),
    ),
    max_size=120,
)


@given(
    st.floats(30.0, 300.0),
    st.floats(1.0, 4.0),
    EVENTS,
)
def test_whatever_happens_it_stays_within_its_bounds(
    start_s: float, growth: float, events: list[tuple[str, float, float, float, float | None]]
) -> None:
    size = BatchSize(BatchBounds(start_s, 20.0, growth * start_s))
    least_s, most_s = 20.0, growth * start_s
    for kind, padded_s, audio_s, seconds, memory in events:
        if kind == "observe":
            size.observe(padded_s, audio_s, seconds, memory)
        else:
            before_s = size.settled_s
            assert size.too_large(padded_s) == (size.settled_s < before_s)
            least_s = min(least_s, max(padded_s / 2, 0.0))
            assert size.current_s <= max(padded_s / 2, before_s)
        assert least_s - 1e-9 <= size.settled_s <= size.current_s <= most_s + 1e-9
