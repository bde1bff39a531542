"""An interrupt waits for what must not be cut in two, and then it comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from ray_asr.job.interrupts import afterwards


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """As in a terminal: what a shell starts in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def inside(*steps: Callable[[], object]) -> None:
    with afterwards():
        for step in steps:
            step()


def test_an_interrupt_comes_afterwards() -> None:
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):
        inside(interrupt, lambda: done.append("all of it"))
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_does_not_wait() -> None:
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):
        inside(interrupt, interrupt, lambda: done.append("never"))
    assert done == []
    assert signal.getsignal(signal.SIGINT) is before


def test_what_goes_wrong_meanwhile_is_said_instead() -> None:
    with pytest.raises(ZeroDivisionError):
        inside(interrupt, lambda: 1 / 0)


def test_without_an_interrupt_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with afterwards():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with afterwards():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
