"""What runs beside what, and that results and errors keep their places."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.engine.overlap import in_turn, overlapped


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(st.integers(), max_size=12), st.sampled_from([in_turn, overlapped]))
def test_every_batch_has_its_result_in_its_place(batches: list[int], run) -> None:
    steps = (lambda x: x + 1, lambda x: x * 2, str)
    assert [result() for result in run(batches, *steps)] == [str((x + 1) * 2) for x in batches]


@pytest.mark.parametrize("run", [in_turn, overlapped])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_step_that_raises_spoils_its_own_batch_only(run, at: int) -> None:
    def step(number: int):
        def apply(value: int) -> int:
            if number == at and value == 1:
                raise ValueError("this one")
            return value

        return apply

    outcomes: list[object] = []
    for result in run([0, 1, 2], step(0), step(1), step(2)):
        try:
            outcomes.append(result())
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes == [0, "this one", 2]


def test_the_next_batch_is_prepared_while_one_is_computed() -> None:
    prepared_second = threading.Event()

    def prepare(batch: int) -> int:
        if batch == 1:
            prepared_second.set()
        return batch

    def compute(batch: int) -> bool:
        return prepared_second.wait(20) if batch == 0 else True

    assert [result() for result in overlapped([0, 1], prepare, compute, bool)] == [True, True]


def test_words_are_made_while_the_next_batch_is_computed() -> None:
    computing_second = threading.Event()

    def compute(batch: int) -> int:
        if batch == 1:
            computing_second.set()
        return batch

    def finish(batch: int) -> bool:
        return computing_second.wait(20) if batch == 0 else True

    assert [result() for result in overlapped([0, 1], int, compute, finish)] == [True, True]


def test_no_more_batches_are_taken_than_may_wait() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    results = overlapped(batches(), int, int, int, ahead=2)
    next(results)()
    time.sleep(0.05)
    assert len(taken) == 3
    results.close()


def test_in_turn_computes_nothing_before_it_is_asked() -> None:
    computed: list[int] = []
    results = list(in_turn([1, 2], int, computed.append, lambda _: None))
    assert computed == []
    results[1]()
    assert computed == [2]
