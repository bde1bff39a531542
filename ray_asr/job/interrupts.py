"""Ctrl-C, or a notebook's stop button, while something is done that must not be cut in two.

Owns the signal for that time. Must not know what is done.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def afterwards() -> Iterator[None]:
    """An interrupt waits until the block has ended; a second one does not wait.

    Only the main thread is interrupted; in another one this changes nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    kept: list[tuple[int, FrameType | None]] = []

    def keep(number: int, frame: FrameType | None) -> None:
        if kept:
            signal.signal(signal.SIGINT, handler)
            handler(number, frame)
        kept.append((number, frame))

    signal.signal(signal.SIGINT, keep)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if kept:
        handler(*kept[0])
