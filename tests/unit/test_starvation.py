"""An actor is given up for reading, one at a time, and only while nobody reads."""

from __future__ import annotations

from ray_asr.control.starvation import Starvation


def caps(*seen: tuple[float, int, bool], room: int = 4) -> list[int | None]:
    starvation = Starvation()
    return [starvation.cap(now_s, size, dry, room) for now_s, size, dry in seen]


def test_nothing_is_given_up_while_chunks_come() -> None:
    assert caps(*((float(n), 4, False) for n in range(100))) == [None] * 100


def test_a_short_pause_of_reading_costs_no_actor() -> None:
    assert caps((0, 4, True), (4, 4, True), (4.5, 4, False), (5, 4, True), (9, 4, True))[-1] is None


def test_one_after_the_other_is_given_up_until_one_is_left() -> None:
    seen = [(float(n), size, True) for n, size in enumerate([3] * 6 + [2] * 5 + [1] * 20)]
    found = caps(*seen)
    assert found[:5] == [None] * 5
    assert found[5] == 2
    assert found[10:] == [1] * 21


def test_what_was_given_up_stays_so_until_nodes_come() -> None:
    starvation = Starvation()
    for now_s in (0.0, 6.0):
        starvation.cap(now_s, 4, True, 4)
    assert starvation.cap(7.0, 3, False, 4) == 3
    assert starvation.cap(3600.0, 3, False, 4) == 3
    assert starvation.cap(3601.0, 3, False, 6) is None
    assert starvation.cap(3602.0, 3, False, 6) is None


def test_it_says_since_when_reading_waits() -> None:
    starvation = Starvation()
    starvation.cap(10.0, 1, True, 1)
    starvation.cap(40.0, 1, True, 1)
    assert starvation.waited_s(40.0) == 30.0
    starvation.cap(41.0, 1, False, 1)
    assert starvation.waited_s(41.0) == 0.0
