"""One pool under a policy: what the driver tells it, and the record of what it did.

Owns these values. Must not know Ray, nor how a policy decides.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ray_asr.control.signals import Decision, Signals


class Policy(Protocol):
    """Who decides (see `policy.ScalingPolicy`)."""

    def decide(self, signals: Signals) -> Decision:
        """The size from now on, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """One change: of the target or of the pool. For the run's record.

    Attributes:
        time_s: since the pool was first looked at, in seconds.
        target: actors that the policy wants.
        running: actors that take work.
        pending: actors that load.
        reason: the policy's.
    """

    time_s: float
    target: int
    running: int
    pending: int
    reason: str


@dataclass(slots=True)
class Seen:
    """What a driver adds to what Ray knows; replaced as a whole, by whichever thread."""

    audio_done_s: float = 0.0
    audio_left_s: float | None = None
    cpu_percent: float | None = None
    gpu_percent: float | None = None
    gpu_memory_share: float | None = None
    memory_share: float | None = None


@dataclass
class PoolControl:
    """One run's policy and what it needs to be asked; lives in the driver's process.

    Args:
        make_policy: makes who decides, anew for each execution of the pool's dataset.
        operator: the class name of the pool's callable.
        num_cpus: that Ray grants each actor.
        num_gpus: likewise.
        cores: that processes of the cluster may really use; 0 where not known.
        reserve_percent: of them, what no actor is meant to compute on.
        actor_timeout_s: no actor for so long, while work waits, ends the run.
        period_s: between two questions to the policy.
        readers_announce: whether tasks that read for the pool say so (`announcing.reading`).
        look: gives what the driver knows.
        tell: is given what the policy was given.
        moments: the record.
        most_running: the most actors that took work at the same time.
        nodes: ids of those that have actors now, of this pool or of another one of the execution;
            replaced as a whole.
        name: of this one among all of the process.
    """

    make_policy: Callable[[], Policy]
    operator: str
    num_cpus: float
    num_gpus: float = 0.0
    cores: float = 0.0
    reserve_percent: float = 0.0
    actor_timeout_s: float = 300.0
    period_s: float = 0.5
    readers_announce: bool = False
    look: Callable[[], Seen] = Seen
    tell: Callable[[Signals], None] = lambda _: None
    moments: list[Moment] = field(default_factory=list[Moment])
    most_running: int = 0
    nodes: frozenset[str] = frozenset()
    name: str = field(default_factory=lambda: f"ray_asr-{uuid.uuid4().hex[:12]}")
