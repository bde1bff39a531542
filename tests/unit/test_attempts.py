"""Attempts leave what the next one finds, and only what its own work was."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from ray_asr.control.attempts import Attempts, Earlier, MemoryStore


class Machines(MemoryStore):
    """A store whose process is on one of several machines, in one of several tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.here, self.there, self.doing = "a", {"a", "b"}, "task"

    def node(self) -> str:
        return self.here

    def alive(self) -> Collection[str]:
        return self.there

    def task(self) -> str:
        return self.doing


@pytest.fixture
def store() -> Machines:
    return Machines()


def test_the_first_attempt_finds_nothing_and_the_end_leaves_nothing(store: Machines) -> None:
    attempt = Attempts(store).begin("work")
    assert attempt.earlier == Earlier()
    assert len(store.records) == 1
    attempt.end()
    assert store.records == {}


def test_an_attempt_that_did_not_end_is_counted_by_each_that_comes_after_it(
    store: Machines,
) -> None:
    for died in range(4):
        assert Attempts(store).begin("work").earlier == Earlier(died=died)


def test_an_attempt_on_a_machine_that_has_gone_is_not_counted(store: Machines) -> None:
    Attempts(store).begin("work")
    store.here = "b"
    assert Attempts(store).begin("work").earlier.died == 1
    store.there = {"b"}
    assert Attempts(store).begin("work").earlier.died == 1
    store.there = {"c"}
    assert Attempts(store).begin("work").earlier == Earlier()


@pytest.mark.parametrize(
    ("allowed_s", "took_s", "over"), [(5.0, 4.9, 0), (5.0, 5.0, 1), (0.0, 1e9, 0)]
)
def test_time_is_up_after_what_was_allowed(
    store: Machines, allowed_s: float, took_s: float, over: int
) -> None:
    Attempts(store, lambda: 100.0).begin("work", allowed_s)
    later = Attempts(store, lambda: 100.0 + took_s)
    assert later.begin("work").earlier == Earlier(died=1, over=over)


def test_time_counts_anew_for_work_that_gets_on(store: Machines) -> None:
    now = [0.0]
    attempt = Attempts(store, lambda: now[0]).begin("work", 5.0)
    now[0] = 4.0
    attempt.still(3.0)
    now[0] = 6.0
    assert Attempts(store, lambda: now[0]).begin("work").earlier == Earlier(died=1, over=0)


def test_work_that_was_given_up_says_so_to_whoever_comes(store: Machines) -> None:
    attempt = Attempts(store).begin("work").part("row", 0.0)
    attempt.give_up("worker_died")
    for _ in range(2):
        again = Attempts(store).begin("work").part("row", 0.0)
        assert again.earlier == Earlier(verdict="worker_died")


def test_a_retry_finds_the_record_of_its_own_work_among_others_of_the_name(
    store: Machines,
) -> None:
    first = Attempts(store)
    first.begin("work").end()
    first.begin("work").end()
    first.begin("work")
    again = Attempts(store)
    assert [again.begin("work").earlier.died for _ in range(4)] == [0, 0, 1, 0]


def test_tasks_do_not_find_what_is_of_another_one(store: Machines) -> None:
    attempts = Attempts(store)
    attempts.begin("work")
    store.doing = "another task"
    assert attempts.begin("work").earlier == Earlier()
    store.doing = "task"
    assert Attempts(store).begin("work").earlier.died == 1


def test_parts_of_work_are_apart(store: Machines) -> None:
    whole = Attempts(store).begin("work")
    whole.part("1", 0.0)
    whole.part("2", 0.0).end()
    again = Attempts(store).begin("work")
    assert again.part("1", 0.0).earlier.died == 1
    assert again.part("2", 0.0).earlier.died == 0
