"""Processes that die, without any: what they leave behind is all that the next one finds.

A process that dies is an exception that no store sees: what was written stays, and whatever a
`finally` would take away is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray_asr.control.attempts import Attempts, MemoryStore
from ray_asr.job.isolation import Isolation

NEVER_S = 1e5  # armed, and never up


class Death(BaseException):
    """The end of a process."""


class Mortal(MemoryStore):
    """What the processes of one task leave, one after the other, and their clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.deaths = 0
        self.is_dying = False

    def die(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.deaths += 1
        self.is_dying = True
        raise Death

    def put(self, key: str, value: str) -> None:
        if not self.is_dying:
            super().put(key, value)

    def delete(self, key: str) -> None:
        if not self.is_dying:
            super().delete(key)

    def isolation(self, row_timeout_s: float = 0.0) -> Isolation:
        """That of a new process."""
        self.is_dying = False
        return Isolation(Attempts(self, lambda: self.now_s), row_timeout_s)


def at_last(store: Mortal, attempt: Callable[[], Any], most: int = 200) -> Any:
    """What an attempt gives that does not die."""
    for _ in range(most):
        try:
            return attempt()
        except Death:
            continue
    raise AssertionError(f"{store.deaths} processes died")
