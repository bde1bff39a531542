"""What the policy is held against: Ray's own rule, and pools whose sizes are given.

Owns these rules as pure code for the simulator. Must not know Ray's classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ray_asr.control.signals import Decision, Signals

_UP, _DOWN = 1.75, 0.5
_STEPS_A_SECOND = 10.0
_GAP_S, _MEAN_OVER_S, _BUSY = 10.0, 10.0, 0.75


class RayRule:
    """The rule that Ray Data 2.60 sizes an actor pool by, as read in its source.

    An idle pool is left alone until chunks are in flight. Where those in flight are 1.75 times the
    actors or more (two are, an actor), it grows to (in flight + queued) / 1.75, as far as the nodes
    that are there have room; at 0.5 times or fewer it gives up one, if none is loading; with the
    input at its end and the queue empty it gives up one a step, at about ten steps a second.

    Source: `ray/data/_internal/actor_autoscaler/default_actor_autoscaler.py`
    (`_derive_target_scaling_config`), `backlog_aware_actor_autoscaler.py`
    (`_compute_upscale_delta`, the default by `actor_autoscaler/__init__.py`), thresholds in
    `ray/data/context.py` (`DEFAULT_ACTOR_POOL_UTIL_{UP,DOWN}SCALING_THRESHOLD`), the pause of 10 s
    after growth in `execution/operators/actor_pool_map_operator.py`.

    Args:
        most: the pool's `max_size`; its `min_size` is 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._grown_s = -math.inf
        self._asked_s = 0.0

    def decide(self, signals: Signals) -> Decision:
        """The rule's size, in the steps that fit between this moment and the last."""
        size = signals.running + signals.pending
        steps = max(1, round((signals.time_s - self._asked_s) * _STEPS_A_SECOND))
        self._asked_s = signals.time_s
        if size == 0:
            return Decision(1, "pool below min size")
        if signals.all_read and signals.queued == 0:
            drained = signals.pending + signals.idle
            return Decision(size - min(steps, drained), "consumed all inputs")
        utilization = signals.in_flight / size
        if utilization >= _UP:
            wanted = math.ceil((signals.in_flight + signals.queued) / _UP)
            target = min(max(wanted, size + 1), self._most, max(size, signals.room))
            if target > size:
                self._grown_s = signals.time_s
            return Decision(target, f"utilization of {utilization:.2f}")
        settled = signals.time_s > self._grown_s + 10.0
        if utilization <= _DOWN and not signals.pending and size > 1 and settled:
            return Decision(max(1, size - min(steps, signals.idle)), "low utilization")
        return Decision(size, "within limits")


class RayNodes:
    """How Ray Data 2.60 asks for nodes: one more than there are, while they are busy.

    Every 10 s, where a mean of 10 s of the taken share is 0.75 or more, it asks for the nodes that
    are alive and one of each shape; a node that still starts is not alive.

    Source: `ray/data/_internal/cluster_autoscaler/default_cluster_autoscaler_v2.py`
    (`try_trigger_scaling`).
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []
        self._asked_s = -math.inf
        self._wanted = 0

    def __call__(self, time_s: float, alive: int, taken: float) -> int:
        """Nodes that there should be."""
        self._seen.append((time_s, taken))
        while self._seen[0][0] < time_s - _MEAN_OVER_S:
            del self._seen[0]
        if time_s - self._asked_s >= _GAP_S:
            self._asked_s = time_s
            mean = sum(share for _, share in self._seen) / len(self._seen)
            if mean >= _BUSY:
                self._wanted = alive + 1
        return self._wanted


class PiecewiseSize:
    """A pool of one size after another, which gives up actors when no chunk is left for them.

    Args:
        pieces: actors, and the share of the job's audio, 0 to 1, that is done when the next piece
            begins.
    """

    def __init__(self, pieces: Sequence[tuple[int, float]]) -> None:
        self._pieces = tuple(pieces)

    def decide(self, signals: Signals) -> Decision:
        """The size of this part of the job; of an emptied queue, the actors at work alone."""
        if signals.all_read and not signals.queued and signals.running:
            return Decision(signals.running - signals.idle, "drained")
        total_s = signals.audio_done_s + (signals.audio_left_s or 0.0)
        done = signals.audio_done_s / total_s if total_s else 0.0
        for actors, until in self._pieces:
            if done < until:
                return Decision(actors, "known before")
        return Decision(self._pieces[-1][0], "known before")


class FixedSize(PiecewiseSize):
    """A pool of one size.

    Args:
        actors: of the pool.
    """

    def __init__(self, actors: int) -> None:
        super().__init__([(actors, 1.0)])
