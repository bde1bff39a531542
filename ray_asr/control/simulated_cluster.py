"""A cluster on paper: nodes, actors and chunks as events in time.

Owns the model of what a pool of actors does between two decisions. Must not know Ray, nor how a
decision is made. The model, in the terms of `ray_asr.job`:

- Nodes are alike and hold `room` actors each; a new actor goes to the node with the fewest.
- An actor takes `load_s` until it works. Then it holds up to two chunks: one at work, one waiting.
- The actors at work on one node share its speed, which the `Curve` gives for each number of them.
- A pool gives up actors without a chunk only, and hands out no chunk while it wants to shrink; the
  chunks of a lost node go back to the front of the queue, and its actors are asked for again.
- Reading keeps up: every chunk is in the queue from the start.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ray_asr.control.paper_job import Outcome, Workload
from ray_asr.control.signals import Decision, Signals

_IN_FLIGHT = 2


class Policy(Protocol):
    """Whoever decides the size of the pool."""

    def decide(self, signals: Signals) -> Decision:
        """The size from now on."""
        ...


_Chunk = tuple[float, float]  # audio, and what an actor that is alone takes for it, in seconds


@dataclass(slots=True, eq=False)
class _Node:
    alive: bool = True
    actors: dict[_Actor, None] = field(default_factory=lambda: dict[_Actor, None]())
    at_work: int = 0
    work_s: float = 0.0  # what each actor at work has done since the node began, alone-seconds
    since_s: float = 0.0  # when `work_s` was brought up to date
    ends: list[tuple[float, int, _Actor]] = field(
        default_factory=lambda: list[tuple[float, int, "_Actor"]]()
    )
    version: int = 0


@dataclass(slots=True, eq=False)
class _Actor:
    node: _Node
    placed_s: float
    running: bool = False
    gone: bool = False
    chunks: deque[_Chunk] = field(default_factory=lambda: deque[_Chunk]())
    began_s: float = 0.0


class Simulation:
    """One run of a workload under a policy.

    Args:
        workload: what is run.
        policy: asked for the size at the start and every `period_s`.
        period_s: between two decisions, in seconds.
        nodes_asked: for a scheduler that asks for nodes by a rule of its own: the nodes that there
            should be, from the time in seconds, the nodes alive and the share of their room that is
            taken. None where nodes follow the pool.
        balanced: whether a pool that shrinks while chunks wait gives up actors of its fullest
            nodes; else whoever is idle first, which leaves some nodes full and others empty.
    """

    def __init__(
        self,
        workload: Workload,
        policy: Policy,
        period_s: float = 1.0,
        nodes_asked: Callable[[float, int, float], int] | None = None,
        balanced: bool = True,
    ) -> None:
        self._workload, self._policy, self._period_s = workload, policy, period_s
        self._nodes_asked, self._balanced = nodes_asked, balanced
        self._random = random.Random(workload.seed)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        at_start = workload.nodes if workload.nodes_at_start is None else workload.nodes_at_start
        self._nodes = [_Node() for _ in range(at_start)]
        self._alive = at_start
        self._coming = 0
        self._places: list[tuple[int, int, _Node]] = []
        for node in self._nodes:
            self._offer(node)
        self._queue: deque[_Chunk] = deque()
        for audio_s in workload.chunks_s:
            noise = self._random.lognormvariate(0, workload.noise)
            self._queue.append((audio_s, workload.curve.service_s(audio_s) * noise))
        self._left = len(workload.chunks_s)
        self._total_s = sum(workload.chunks_s)
        self._done_s = 0.0
        self._done = 0
        self._busy_s = 0.0
        self._target = 0
        self._unplaced = 0
        self._loading: dict[_Actor, None] = {}  # in the order of their placing
        self._idle: dict[_Actor, None] = {}
        self._running = 0
        self._in_flight = 0
        self._at_work = 0
        self._lost = 0
        self._load_s: float | None = None
        self._actor_s = 0.0
        self._history: list[tuple[float, int, int]] = []

    def run(self) -> Outcome:
        """To the end of the last chunk."""
        for time_s, which in self._workload.losses:
            self._at(time_s, self._lose, which)
        self._ask()
        while self._left:
            self._now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        for node in self._nodes:
            for actor in node.actors:
                self._actor_s += self._now - actor.placed_s
        hours = self._actor_s / 3600
        cost = hours * self._workload.price
        return Outcome(self._now, hours, cost, tuple(self._history))

    def _at(self, time_s: float, action: Callable[..., None], *arguments: object) -> None:
        self._number += 1
        heapq.heappush(self._events, (time_s, self._number, action, arguments))

    # Decisions.

    @property
    def _size(self) -> int:
        return self._running + len(self._loading) + self._unplaced

    def _signals(self) -> Signals:
        work = self._workload
        places = self._alive * work.room
        used = min(1.0, self._at_work * work.core_share / self._alive) if self._alive else 0.0
        busy = min(1.0, self._at_work / places) if places else 0.0
        return Signals(
            time_s=self._now,
            running=self._running,
            pending=len(self._loading) + self._unplaced,
            lost=self._lost,
            audio_done_s=self._done_s,
            audio_left_s=self._total_s - self._done_s,
            queued=len(self._queue),
            in_flight=self._in_flight,
            load_s=self._load_s,
            node_s=work.node_s if work.elastic else 0.0,
            room=places,
            nodes=self._alive,
            cpu_percent=100 * used,
            reserve_percent=100 * work.reserve_share,
            granted_percent=100 * self._running * work.core_share / max(1, self._alive),
            gpu_percent=100 * busy if work.gpu else None,
            chunks_done=self._done,
            busy_s=self._busy_s,
            idle=len(self._idle),
            all_read=True,
        )

    def _ask(self) -> None:
        self._target = self._policy.decide(self._signals()).target
        self._follow()
        self._ask_for_nodes()
        self._note()
        self._at(self._now + self._period_s, self._ask)

    def _note(self) -> None:
        if not self._history or self._history[-1][1:] != (self._target, self._running):
            self._history.append((self._now, self._target, self._running))

    def _ask_for_nodes(self) -> None:
        work = self._workload
        if not work.elastic:
            return
        if self._nodes_asked:
            taken = (self._running + len(self._loading)) / max(1, self._alive * work.room)
            wanted = self._nodes_asked(self._now, self._alive, taken)
        else:
            wanted = -(-self._size // work.room)
        while self._alive + self._coming < min(wanted, work.nodes):
            self._coming += 1
            self._at(self._now + work.node_s, self._arrive)

    # The pool's size.

    def _follow(self) -> None:
        """Towards the target: start, or give up what is not loaded first, then what is idle."""
        if self._size < self._target:
            self._unplaced += self._target - self._size
            self._place()
        while self._size > self._target and self._unplaced:
            self._unplaced -= 1
        while self._size > self._target and self._loading:
            self._end(self._loading.popitem()[0])
        self._release_idle()
        self._hand_out()

    def _release_idle(self) -> None:
        """Those too many that are idle; while chunks wait, of the fullest nodes only."""
        while self._size > self._target and self._idle:
            first = max(self._idle, key=lambda actor: len(actor.node.actors))
            if self._queue and self._balanced:
                fullest = max(len(node.actors) for node in self._nodes)
                if len(first.node.actors) < fullest:
                    return
            self._release(first)

    def _offer(self, node: _Node) -> None:
        self._number += 1
        heapq.heappush(self._places, (len(node.actors), self._number, node))

    def _place(self) -> None:
        while self._unplaced and self._places:
            taken, _, node = self._places[0]
            if not node.alive or taken != len(node.actors) or taken >= self._workload.room:
                heapq.heappop(self._places)
                continue
            heapq.heappop(self._places)
            self._unplaced -= 1
            actor = _Actor(node, self._now)
            node.actors[actor] = None
            self._offer(node)
            self._loading[actor] = None
            spread = self._workload.load_spread * self._random.uniform(-1, 1)
            self._at(self._now + self._workload.load_s * (1 + spread), self._loaded, actor)

    def _loaded(self, actor: _Actor) -> None:
        if actor.gone:
            return
        del self._loading[actor]
        self._running += 1
        actor.running = True
        took_s = self._now - actor.placed_s
        self._load_s = took_s if self._load_s is None else 0.8 * self._load_s + 0.2 * took_s
        self._idle[actor] = None
        self._feed(actor)

    def _end(self, actor: _Actor) -> None:
        """It is no longer there: its place is free."""
        actor.gone = True
        self._actor_s += self._now - actor.placed_s
        del actor.node.actors[actor]
        if actor.node.alive:
            self._offer(actor.node)

    def _release(self, actor: _Actor) -> None:
        del self._idle[actor]
        self._running -= 1
        self._end(actor)

    # Nodes.

    def _arrive(self) -> None:
        self._coming -= 1
        self._add_node()

    def _add_node(self) -> None:
        node = _Node(since_s=self._now)
        self._nodes.append(node)
        self._alive += 1
        self._offer(node)
        self._place()

    def _lose(self, which: int) -> None:
        alive = [node for node in self._nodes if node.alive]
        if len(alive) < 2:
            return
        node = alive[which % len(alive)]
        node.alive = False
        node.version += 1
        self._nodes.remove(node)
        self._alive -= 1
        self._at_work -= node.at_work
        self._lost += len(node.actors)
        for actor in list(node.actors):
            self._queue.extendleft(reversed(actor.chunks))
            self._in_flight -= len(actor.chunks)
            if actor.running:
                self._running -= 1
                self._idle.pop(actor, None)
            else:
                del self._loading[actor]
            self._end(actor)
            self._unplaced += 1
        if not self._workload.elastic:
            self._at(self._now + self._workload.node_s, self._add_node)
        self._place()
        self._ask_for_nodes()
        self._hand_out()

    # Chunks.

    def _hand_out(self) -> None:
        """Chunks to whoever may have more, those without one first."""
        if not self._queue or self._size > self._target:
            return
        for actor in list(self._idle):
            self._feed(actor, 1)
        if self._queue:
            for node in self._nodes:
                for actor in node.actors:
                    if actor.running and len(actor.chunks) < _IN_FLIGHT:
                        self._feed(actor)

    def _feed(self, actor: _Actor, up_to: int = _IN_FLIGHT) -> None:
        if self._size > self._target:
            return
        while self._queue and len(actor.chunks) < up_to:
            actor.chunks.append(self._queue.popleft())
            self._in_flight += 1
            if len(actor.chunks) == 1:
                self._idle.pop(actor, None)
                self._begin(actor)

    def _bring_up(self, node: _Node) -> None:
        if node.at_work:
            share = self._workload.curve.share(node.at_work)
            node.work_s += (self._now - node.since_s) * share
        node.since_s = self._now

    def _begin(self, actor: _Actor) -> None:
        node = actor.node
        self._bring_up(node)
        node.at_work += 1
        self._at_work += 1
        self._number += 1
        actor.began_s = self._now
        ends = node.work_s + actor.chunks[0][1]
        heapq.heappush(node.ends, (ends, self._number, actor))
        self._expect(node)

    def _expect(self, node: _Node) -> None:
        """The next chunk that this node will be done with, as things are now."""
        node.version += 1
        if node.ends:
            share = self._workload.curve.share(node.at_work)
            after_s = max(0.0, node.ends[0][0] - node.work_s) / share
            self._at(self._now + after_s, self._finish, node, node.version)

    def _finish(self, node: _Node, version: int) -> None:
        if version != node.version:
            return
        self._bring_up(node)
        ends, _, actor = heapq.heappop(node.ends)
        node.work_s = max(node.work_s, ends)
        node.at_work -= 1
        self._at_work -= 1
        self._in_flight -= 1
        self._done += 1
        self._done_s += actor.chunks.popleft()[0]
        self._busy_s += self._now - actor.began_s
        self._left -= 1
        if actor.chunks:
            self._begin(actor)
        self._feed(actor)
        if not actor.chunks:
            self._idle[actor] = None
            self._expect(node)
            if self._size > self._target:
                self._release_idle()
                self._hand_out()
