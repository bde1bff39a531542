"""A job and the cluster that it runs on, on paper.

Owns what is simulated and what comes out of it, as plain data. Must not know how it is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """What the actors at work on one node bring together.

    Attributes:
        speeds: of a node with 1, 2, 3, … of them at work, in seconds of audio a second; with more
            than are listed, as with the last.
        call_s: what a chunk takes beside the time that its audio takes, in seconds of an actor
            that is alone: the part of the service time that larger batches save.
    """

    speeds: tuple[float, ...]
    call_s: float = 0.0

    @classmethod
    def through(cls, measured: Mapping[int, float], call_s: float = 0.0) -> Curve:
        """A curve through what was measured at some numbers of actors, straight in between.

        Args:
            measured: throughput against actors, in seconds of audio a second.
            call_s: as for the class.
        """
        counts = sorted(measured)
        speeds: list[float] = []
        for actors in range(1, counts[-1] + 1):
            more = next(count for count in counts if count >= actors)
            fewer = max((count for count in counts if count <= actors), default=0)
            low = measured.get(fewer, 0.0)
            way = (actors - fewer) / (more - fewer) if more > fewer else 0.0
            speeds.append(low + way * (measured[more] - low))
        return cls(tuple(speeds), call_s)

    def share(self, busy: int) -> float:
        """Speed of each of `busy` actors, against one that is alone."""
        return self.speeds[min(busy, len(self.speeds)) - 1] / (busy * self.speeds[0])

    def service_s(self, audio_s: float) -> float:
        """What an actor that is alone takes for a chunk, in seconds."""
        return self.call_s + audio_s / self.speeds[0]


@dataclass(frozen=True, slots=True)
class Workload:
    """A job and the cluster that it runs on.

    Attributes:
        name: for the table.
        chunks_s: audio of each chunk, in the order of the queue, in seconds.
        curve: of every node.
        load_s: from the placing of an actor until it works, in seconds.
        load_spread: loads differ by up to this share of `load_s` either way.
        nodes: that there can be at most.
        room: actors that a node holds.
        nodes_at_start: the others come when the pool asks for more actors than fit.
        node_s: from the asking for a node until it is there, in seconds.
        losses: moments in seconds, and which of the nodes alive then is lost (a number that is
            taken modulo their count). A lost node comes back after `node_s`.
        core_share: of a node's cores, what an actor at work takes, 0 to 1.
        reserve_share: of a node's cores, what is kept for the system and for reading, 0 to 1.
        gpu: whether the actors compute on GPUs.
        price: of an actor-hour, in any currency.
        noise: spread (log-normal) of what chunks of equal length take.
        seed: of the loads and the noise.
    """

    name: str
    chunks_s: tuple[float, ...]
    curve: Curve
    load_s: float
    nodes: int
    room: int
    load_spread: float = 0.1
    nodes_at_start: int | None = None
    node_s: float = 0.0
    losses: tuple[tuple[float, int], ...] = ()
    core_share: float = 0.1
    reserve_share: float = 0.05
    gpu: bool = False
    price: float = 0.0
    noise: float = 0.1
    seed: int = 0

    @property
    def most(self) -> int:
        """Actors that all the nodes hold together."""
        return self.nodes * self.room

    @property
    def elastic(self) -> bool:
        """Whether nodes come when they are asked for."""
        return self.nodes_at_start is not None and self.nodes_at_start < self.nodes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run would take.

    Attributes:
        makespan_s: until the last chunk is done, in seconds.
        actor_hours: of all actors from their placing to their end, loading included.
        cost: of these, at the workload's price.
        history: (time in seconds, target, running) at each change of either.
    """

    makespan_s: float
    actor_hours: float
    cost: float
    history: tuple[tuple[float, int, int], ...]
