"""The knee of a pool: the fewest actors that are as fast as any number of them.

Owns the bracket between sizes that were too few and sizes that were enough, and which size to try
next. Must not know signals, time or Ray.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ray_asr.control.throughput import Reading

# Of a size: nearer sizes are not told apart.
_NEAR = 0.1
# Of a rate: with a larger error a reading was taken in haste.
_HASTY = 0.03
# Of a size: a smaller step is judged by what an actor is worth, a larger one by what is lost.
_SMALL = 0.15
# Of the throughput of enough actors: what more of them must promise, to be tried.
_PROMISING = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """A size held against the best known.

    Attributes:
        best: reading of the best size.
        actors: the size on trial.
        allowed: share of the best throughput that it may cost.
    """

    best: Reading
    actors: int
    allowed: float

    def judged(self, reading: Reading, confidence: float) -> bool:
        """Whether what was seen is clear, by so many standard errors.

        Half as many do to find that fewer are enough: the next trial would show the mistake, while
        a size once found too few is not tried again.
        """
        loss = (self.best.rate - reading.rate) / self.best.rate
        error = math.hypot(self.best.error, reading.error) / self.best.rate
        if loss < self.allowed:
            return self.allowed - loss > confidence / 2 * error
        return loss - self.allowed > confidence * error


class Bracket:
    """Readings at several sizes, and what they say of the knee.

    Args:
        slack: share of the best throughput that fewer actors may cost at most.
        knee_share: of an actor's worth, what a step must bring for each of its actors.
    """

    def __init__(self, slack: float, knee_share: float) -> None:
        self._slack, self._knee_share = slack, knee_share
        self.readings: dict[int, Reading] = {}
        self._doubted: set[int] = set()

    def add(self, reading: Reading) -> None:
        """What was seen at a size; a second look replaces the first."""
        self.readings[reading.actors] = reading

    def forget(self) -> None:
        """Everything was another time."""
        self.readings.clear()
        self._doubted.clear()

    def forget_above(self, actors: int) -> None:
        """Larger sizes were another time; that size was seen, and stays."""
        for size in [size for size in self.readings if size > actors]:
            del self.readings[size]

    def doubt(self, confidence: float) -> None:
        """Forget a size that was found too few without being clearly so: it has a second trial."""
        best, enough = self.best(), self.enough()
        for actors, reading in list(self.readings.items()):
            if actors >= enough.actors or actors in self._doubted:
                continue
            trial = Trial(best, actors, self.allowed_loss(best.actors, actors))
            if not trial.judged(reading, confidence):
                self._doubted.add(actors)
                del self.readings[actors]

    def best(self) -> Reading:
        """The fastest for sure: a lucky look at one size is not taken for its worth."""

        def surely(reading: Reading) -> float:
            hasty = reading.error > _HASTY * reading.rate
            return reading.rate - (2 if hasty else 1) * reading.error

        return max(self.readings.values(), key=surely)

    def allowed_loss(self, more: int, fewer: int) -> float:
        """Share of throughput that `fewer` may cost against `more`, as a step."""
        share = (more - fewer) / more
        return self._knee_share * share if share <= _SMALL else self._slack

    def enough(self) -> Reading:
        """The fewest actors that were as good as the best, by what a step may cost."""
        best = self.best()
        fewest = best
        for actors in sorted(self.readings, reverse=True):
            reading = self.readings[actors]
            if actors >= best.actors:
                continue
            if reading.rate < best.rate * (1 - self.allowed_loss(best.actors, actors)):
                break
            fewest = reading
        return fewest

    @property
    def flat(self) -> bool:
        """Whether more actors than are enough were seen: the knee lies below the first size."""
        return any(actors > self.enough().actors for actors in self.readings)

    def next_size(
        self,
        limit: int,
        head_room: float | None,
        nodes: int = 1,
        crowded: float = 0.0,
        fed: int = 0,
    ) -> tuple[int, str]:
        """The size to try next, or that of `enough` where nothing is left to try.

        Args:
            limit: actors at most.
            head_room: by how much the pool could be multiplied before cores are full; None where
                that is not known.
            nodes: that the actors are spread over. Sizes that give each as many are tried.
            crowded: how many times the cores are taken; 0 where they are not full.
            fed: actors that chunks come for, where there are more; else 0.
        """
        enough, best = self.enough(), self.best()
        if enough.actors < 2 * nodes:  # some nodes have one actor, others two or none
            nodes = 1
        below = [actors for actors in self.readings if actors < enough.actors]
        above = [actors for actors in self.readings if actors > enough.actors]
        low = self.readings[max(below)] if below else None
        if not above and enough.actors < limit and (low is not None or len(self.readings) == 1):
            grown = self._grown(enough.actors, limit, head_room)
            if grown > enough.actors:
                return grown, f"{enough.actors} are not known to be enough, and cores are idle"
        if low is None:
            if 0 < fed < enough.actors:
                return _spread(fed, nodes), f"chunks do not come for more than {fed}"
            return self._fewer(enough, above, nodes, crowded)
        gap = enough.actors - low.actors
        if gap <= _step(enough.actors):
            over = self._over_the_top(low, enough, above)
            if over > enough.actors:
                return over, f"{enough.actors} are enough, but between them and more may be the top"
            return enough.actors, f"{low.actors} are too few and {enough.actors} are enough"
        knee = math.ceil(best.rate / low.each - 0.25)
        if knee >= enough.actors:
            if not above:
                return enough.actors, f"each of {enough.actors} is worth what each of fewer is"
            knee = low.actors + (gap + 1) // 2
        knee = _spread(max(low.actors + 1, knee), nodes)
        if knee >= enough.actors:
            return enough.actors, f"{enough.actors} are the fewest that are as many on each node"
        return knee, f"between {low.actors}, too few, and {enough.actors}, enough"

    def _grown(self, actors: int, limit: int, head_room: float | None) -> int:
        if head_room is None:
            return min(limit, 2 * actors)
        return min(limit, math.floor(actors * head_room + 0.1))

    def _over_the_top(self, low: Reading, enough: Reading, above: list[int]) -> int:
        """A size that may be much faster than those beside it; that of `enough` if none.

        Where actors are in each other's way, a size below the top can be as fast as one beyond it.
        Throughput rises ever less with each actor, and falls ever more: between two sizes it lies
        under the lines through what is known to the left and to the right of them.
        """
        beyond = sorted(above)[:2]
        if not beyond or beyond[0] - enough.actors <= _step(enough.actors):
            return enough.actors
        nearest = self.readings[beyond[0]]
        gap = nearest.actors - enough.actors
        rises = (enough.rate - low.rate) / (enough.actors - low.actors)
        falls = 0.0
        if len(beyond) == 2:
            last = self.readings[beyond[1]]
            falls = (nearest.rate - last.rate) / (last.actors - nearest.actors)
            meet = (nearest.rate + falls * gap - enough.rate) / max(rises + falls, 1e-9)
            ahead = min(max(math.ceil(meet - 0.25), 1), gap - 1)
            promised = min(rises * ahead, nearest.rate + falls * (gap - ahead) - enough.rate)
        else:  # whether it falls there is not known, nor how steeply
            ahead = _step(enough.actors)
            promised = rises * ahead
        return enough.actors + (ahead if promised > _PROMISING * enough.rate else 0)

    def _fewer(
        self, enough: Reading, above: list[int], nodes: int, crowded: float
    ) -> tuple[int, str]:
        """Down from a size below which nothing is known: a little, then by half."""
        actors = enough.actors
        if crowded or len(above) % 2 == 1:
            half = _spread(max(1, math.floor(actors / max(2.0, crowded))), nodes)
            if half < actors:
                why = f"{actors} are as fast as more"
                if crowded:
                    why = f"the cores are full with {actors}"
                return half, f"{why}: whether {half} are too"
        noise = 6 * enough.error / enough.rate
        step = max(1, round(actors * min(0.25, max(0.0625, noise))))
        return max(1, actors - step), f"whether fewer than {actors} cost anything"


def _step(actors: int) -> int:
    """To the nearest size that can be told from this one."""
    return max(1, round(_NEAR * actors))


def _spread(actors: int, nodes: int) -> int:
    """At least so many that each node gets as many."""
    return -(-actors // nodes) * nodes
