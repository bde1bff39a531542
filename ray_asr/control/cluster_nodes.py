"""What a cluster's nodes hold for one pool, and the asking for more of them.

Owns the count of actors that the nodes of now have room for, and what Ray's autoscaler is told.
Touches Ray Data's cluster autoscaler, which is internal to Ray (2.60). Must not know policies.

Ray Data asks for nodes by how full the cluster is, and goes on asking when a pool has shrunk. Here
its request is the pool's target and one CPU for reading, so that nodes come and go with the pool.
An actor is only made where there is room for it already: one that waits for a place would take the
CPU that reading needs, and nothing would move any more.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.data._internal.cluster_autoscaler import RateBasedClusterAutoscaler

_LOOK_EVERY_S = 5.0
# A node is taken to come within so long before one was seen to; after the longer time none will.
_NODE_S, _NO_NODE_S = 60.0, 900.0
_NEVER = 1e9

logger = logging.getLogger(__name__)


def room_of(nodes: Sequence[Mapping[str, float]], num_cpus: float, num_gpus: float = 0.0) -> int:
    """Actors that nodes hold in all, when a whole CPU of one of them is left for reading.

    Args:
        nodes: what Ray grants on each: "CPU", "GPU".
        num_cpus: of each actor.
        num_gpus: likewise.
    """
    room, given_up = 0, math.inf
    for node in nodes:
        cpus = node.get("CPU", 0.0)
        fit = int(cpus / num_cpus + 1e-9) if num_cpus else 0
        if num_gpus:
            fit = min(fit, int(node.get("GPU", 0.0) / num_gpus + 1e-9))
        room += fit
        if cpus >= 1:
            left = cpus - fit * num_cpus
            given_up = min(given_up, math.ceil(max(0.0, 1 - left) / num_cpus - 1e-9))
    return max(0, room - int(given_up)) if room and given_up < math.inf else room


class ClusterNodes:
    """The nodes, as one pool sees and wants them.

    Args:
        num_cpus: that Ray grants each actor.
        num_gpus: likewise.
        autoscaler: the execution's, as Ray Data made it; another kind than this module knows is
            left alone.
    """

    def __init__(self, num_cpus: float, num_gpus: float, autoscaler: Any = None) -> None:
        self.num_cpus, self.num_gpus = num_cpus, num_gpus
        self.room = 0
        self.count = 0
        self._next_s = 0.0
        self._wanted = 0
        self._short_since: float | None = None
        self._node_s = _NODE_S
        self._gave_up_at = 0
        self._autoscaler: Any = None
        if isinstance(autoscaler, RateBasedClusterAutoscaler):
            self._autoscaler = autoscaler
            threshold = autoscaler._cluster_scaling_up_util_threshold
            # Never full enough to ask by itself, it repeats its last request: ours.
            autoscaler._cluster_scaling_up_util_threshold = type(threshold)(
                cpu=_NEVER, gpu=_NEVER, memory=_NEVER, object_store_memory=_NEVER
            )

    def look(self, now_s: float) -> None:
        """Count again, now and then."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LOOK_EVERY_S
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        before = self.room
        self.room = room_of(alive, self.num_cpus, self.num_gpus)
        self.count = sum(room_of([node], self.num_cpus, self.num_gpus) > 0 for node in alive)
        if before and self.room != before:
            logger.warning(
                "the cluster has changed: it holds %d actor(s) on %d node(s), before %d; the pool "
                "follows.", self.room, self.count, before,
            )  # fmt: skip
        if self._short_since is not None:
            if self.room > before:
                self._node_s, self._short_since = max(1.0, now_s - self._short_since), None
            elif now_s - self._short_since > _NO_NODE_S and self._gave_up_at != self.room:
                self._gave_up_at = self.room
                logger.warning(
                    "%d actors are wanted, and for %.0f min no node has come: the job goes on with "
                    "what %d node(s) hold (%d). Lower control.max_actors, or look at the cluster's "
                    "autoscaler (`ray status`).",
                    self._wanted, _NO_NODE_S / 60, self.count, self.room,
                )  # fmt: skip

    def node_s(self, most: int) -> float:
        """How long a new node takes, in seconds; 0: none is to be hoped for.

        Args:
            most: actors that the pool may have.
        """
        hopeless = self._autoscaler is None or self._gave_up_at == self.room
        return 0.0 if most <= self.room or hopeless else self._node_s

    def want(self, actors: int, now_s: float) -> int:
        """Have nodes for so many actors; returns how many of them the nodes of now hold.

        Args:
            actors: the pool's target.
            now_s: of the same clock as in `look`.
        """
        held = min(actors, self.room) if self.room else actors
        if held == actors:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now_s
        if actors != self._wanted:
            self._wanted = actors
            self._ask()
        return max(1, held)

    def _ask(self) -> None:
        if self._autoscaler is None:
            return
        bundle = {"CPU": self.num_cpus} | ({"GPU": self.num_gpus} if self.num_gpus else {})
        started = time.monotonic()
        self._autoscaler._send_resource_request([bundle] * self._wanted + [{"CPU": 1.0}])
        logger.debug("nodes asked for in %.3f s", time.monotonic() - started)
