"""Hindsight: the best size of a pool, fixed or in two pieces, found by trying them on paper.

Owns the search among sizes. Must not know policies that decide while a job runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ray_asr.control.paper_job import Outcome, Workload
from ray_asr.control.rival_policies import PiecewiseSize
from ray_asr.control.simulated_cluster import Simulation

_NEAR = 1.01  # of the least makespan: what counts as as fast
_MIDDLE, _OTHER_SHARES = 0.5, (0.25, 0.75, 0.9)

# Actors of each piece and the share of the audio that is done when the next one begins.
_Pieces = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What a workload would have taken with sizes that nobody knew before.

    Attributes:
        best: of all sizes, fixed or in two pieces, the least actor-hours among those whose makespan
            is within 1 % of the least.
        sizes: actors of its pieces, one where it is a fixed size.
        until: share of the audio that is done when the first of two pieces ends; 1 for a fixed
            size.
        fixed: the best fixed size, by the same rule.
        fixed_actors: that size.
        tried: every fixed size that was tried, and what it took.
    """

    best: Outcome
    sizes: tuple[int, ...]
    until: float
    fixed: Outcome
    fixed_actors: int
    tried: dict[int, Outcome]

    @property
    def largest(self) -> Outcome:
        """Of a pool of all that there is room for."""
        return self.tried[max(self.tried)]

    def described(self) -> str:
        """The best size in words."""
        if len(self.sizes) == 1:
            return f"{self.sizes[0]}"
        return f"{self.sizes[0]}, after {100 * self.until:.0f} % {self.sizes[1]}"


def hindsight(workload: Workload, period_s: float = 1.0) -> Hindsight:
    """The best size of a workload's pool, drained when no chunk waits, looked after every period.

    Fixed sizes are looked for among even shares of the room (1 to `room` actors on every node), and
    then between the best of these and its neighbours. Pieces are looked for about the best fixed
    size: half of the audio with it and half with a size beside it (or with all that there is room
    for), in either order; then with other shares for the best of these.
    """
    outcomes: dict[_Pieces, Outcome] = {}

    def run(*pieces: tuple[int, float]) -> None:
        possible = all(1 <= actors <= workload.most for actors, _ in pieces)
        if possible and pieces not in outcomes:
            outcomes[pieces] = Simulation(workload, PiecewiseSize(pieces), period_s).run()

    def best(count: int) -> _Pieces:
        least_s = min(outcome.makespan_s for outcome in outcomes.values())
        near = [
            pieces
            for pieces, outcome in outcomes.items()
            if len(pieces) <= count and outcome.makespan_s <= _NEAR * least_s
        ]
        return min(near, key=lambda pieces: outcomes[pieces].actor_hours)

    for on_each in range(1, workload.room + 1):
        run((on_each * workload.nodes, 1.0))
    step = workload.nodes / 2
    while step >= 1 and step >= workload.most / 64:
        middle = best(1)[0][0]
        run((middle - round(step), 1.0))
        run((middle + round(step), 1.0))
        step /= 2
    fixed = best(1)
    (actors, _), beside = fixed[0], max(1, workload.nodes)
    fixed_outcome = outcomes[fixed]
    tried = {pieces[0][0]: outcome for pieces, outcome in outcomes.items()}
    for other in sorted({actors - beside, actors + beside, workload.most} - {actors}):
        run((actors, _MIDDLE), (other, 1.0))
        run((other, _MIDDLE), (actors, 1.0))
    in_two = [pieces for pieces in outcomes if len(pieces) == 2]
    if in_two:
        first, second = min(in_two, key=lambda pieces: _worth(outcomes[pieces], fixed_outcome))
        for share in _OTHER_SHARES:
            run((first[0], share), second)
    chosen = best(2)
    return Hindsight(
        best=outcomes[chosen],
        sizes=tuple(size for size, _ in chosen),
        until=chosen[0][1],
        fixed=fixed_outcome,
        fixed_actors=actors,
        tried=tried,
    )


def _worth(outcome: Outcome, than: Outcome) -> float:
    """Makespan and actor-hours together, as shares of another outcome's; less is better."""
    return outcome.makespan_s / than.makespan_s + outcome.actor_hours / than.actor_hours
