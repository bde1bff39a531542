"""What work has begun and not ended: how a retry knows that an attempt before it died.

Owns the record of attempts at one piece of work, and what is counted of it. Must not know Ray (the
records lie in a `Store`), or what the work is.

Ray does a task again whose process has died, as often as that happens, and tells nobody. So work
leaves a record when it begins and takes it away when it ends: what a retry finds there is of an
attempt that neither ended nor raised. An attempt whose whole node has gone is not counted: to be
taken away is no fault of the work.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol


class Store(Protocol):
    """Where records lie, so that they outlive the process that wrote them."""

    def put_new(self, key: str, value: str) -> bool:
        """Write it unless the key is there; whether it was written."""
        ...

    def put(self, key: str, value: str) -> None:
        """Write it."""
        ...

    def get(self, key: str) -> str | None:
        """What was written; None where nothing is."""
        ...

    def delete(self, key: str) -> None:
        """Take it away."""
        ...

    def task(self) -> str:
        """Names what this process does now: the same in each attempt, and nothing else's."""
        ...

    def node(self) -> str:
        """Names the machine that this process is on."""
        ...

    def alive(self) -> Collection[str]:
        """Names the machines that are there."""
        ...

    def tell(self, line: str) -> None:
        """Have the driver log it."""
        ...

    def renewed(self) -> None:
        """Have the driver know that this process ends of itself, for another in its place."""
        ...


class MemoryStore:
    """Records that end with their process: for work outside of Ray, and for tests."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.told: list[str] = []
        self.renewals = 0

    def put_new(self, key: str, value: str) -> bool:
        """Write it unless the key is there; whether it was written."""
        if key in self.records:
            return False
        self.records[key] = value
        return True

    def put(self, key: str, value: str) -> None:
        """Write it."""
        self.records[key] = value

    def get(self, key: str) -> str | None:
        """What was written; None where nothing is."""
        return self.records.get(key)

    def delete(self, key: str) -> None:
        """Take it away."""
        self.records.pop(key, None)

    def task(self) -> str:
        """One for the whole process."""
        return ""

    def node(self) -> str:
        """The only one."""
        return ""

    def alive(self) -> Collection[str]:
        """The only one."""
        return ("",)

    def tell(self, line: str) -> None:
        """Keep it."""
        self.told.append(line)

    def renewed(self) -> None:
        """Count it."""
        self.renewals += 1


@dataclass(frozen=True, slots=True)
class Earlier:
    """What attempts before this one left.

    Attributes:
        died: of them ended with their process, on machines that are there.
        over: of these had then run for as long as they were allowed: their time was up.
        verdict: what was said when the work was given up, "" where it was not.
    """

    died: int = 0
    over: int = 0
    verdict: str = ""


class Attempt:
    """One attempt at one piece of work, in the store from when it is made.

    Args:
        store: holds the record.
        clock: gives seconds that go on between machines.
        key: of the work, the same in each attempt at it.
        allowed_s: how long it may run until its process is ended; 0 where there is no bound.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float], key: str, allowed_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self._ended: list[list[Any]] = []  # [machine, whether its time was up] of those before
        self.earlier = self._begin(allowed_s)

    def part(self, name: str, allowed_s: float) -> Attempt:
        """An attempt at a part of this work."""
        return Attempt(self._store, self._clock, f"{self._key}/{name}", allowed_s)

    def still(self, allowed_s: float) -> None:
        """It is getting on, and may run so long from now."""
        self._store.put(self._key, self._record(allowed_s))

    def end(self) -> None:
        """It ended, well or with an error: the process lives."""
        self._store.delete(self._key)

    def give_up(self, verdict: str) -> None:
        """It is not to be tried any more, and whoever comes again shall know what was said."""
        self._store.put(self._key, json.dumps({"verdict": verdict}))

    def _begin(self, allowed_s: float) -> Earlier:
        if self._store.put_new(self._key, self._record(allowed_s)):
            return Earlier()
        found: dict[str, Any] = json.loads(self._store.get(self._key) or "{}")
        if "verdict" in found:
            return Earlier(verdict=found["verdict"])
        if "running" in found:
            node, began_s, was_allowed_s = found["running"]
            over = 0 < was_allowed_s <= self._clock() - began_s
            self._ended = [*found["ended"], [node, over]]
        self._store.put(self._key, self._record(allowed_s))
        alive = self._store.alive()
        counted = [over for node, over in self._ended if node in alive]
        return Earlier(len(counted), sum(counted))

    def _record(self, allowed_s: float) -> str:
        running = [self._store.node(), self._clock(), allowed_s]
        return json.dumps({"ended": self._ended, "running": running})


class Attempts:
    """The attempts that this process makes at the work of its tasks.

    Args:
        store: holds the records.
        clock: gives seconds that go on between machines.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._clock = clock
        self._task = ""
        self._begun: Counter[str] = Counter()

    def begin(self, name: str, allowed_s: float = 0.0) -> Attempt:
        """Begin work of this name in this task.

        A task may begin work of one name several times. A retry goes through them in the same
        order, and so each finds its own record.
        """
        task = self.store.task()
        if task != self._task:
            self._task, self._begun = task, Counter()
        number = self._begun[name]
        self._begun[name] += 1
        return Attempt(self.store, self._clock, f"{task}/{name}#{number}", allowed_s)
