"""The policy on a cluster of any size, held against Ray's own rule, fixed pools and hindsight.

Owns the comparison and its table, and the prediction of one run. Must not know Ray or FunASR.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray_asr.control.paper_job import Curve, Outcome, Workload
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.rival_policies import FixedSize, RayNodes, RayRule
from ray_asr.control.simulated_cluster import Policy, Simulation
from ray_asr.control.workloads import workloads
from ray_asr.errors import ConfigError, PlanError

_NEAR = 1.01  # of the oracle's least makespan: what counts as as fast


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """What is simulated.

    Attributes:
        workloads: how many.
        seed: of what they are.
        price_per_actor_hour: for the costs, in any currency.
    """

    workloads: int = 50
    seed: int = 0
    price_per_actor_hour: float = 0.0

    def __post_init__(self) -> None:
        if self.workloads < 1:
            raise ConfigError(f"{self.workloads} workloads were asked for: ask for 1 or more.")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload under each policy.

    Attributes:
        name: of the workload.
        ours: under `ScalingPolicy`.
        ray: under Ray's own rule.
        fixed: a pool of all that there is room for.
        oracle: the best fixed size in hindsight (`oracle`).
        oracle_actors: that size.
    """

    name: str
    ours: Outcome
    ray: Outcome
    fixed: Outcome
    oracle: Outcome
    oracle_actors: int

    @property
    def near_oracle(self) -> bool:
        """At most 1.05 times the oracle's makespan and 1.1 times its actor-hours."""
        return (
            self.ours.makespan_s <= 1.05 * self.oracle.makespan_s
            and self.ours.actor_hours <= 1.1 * self.oracle.actor_hours
        )

    @property
    def beats_ray(self) -> bool:
        """Better than Ray's rule in makespan or actor-hours, and over 1 % worse in neither."""
        faster = self.ours.makespan_s / self.ray.makespan_s
        cheaper = self.ours.actor_hours / self.ray.actor_hours
        return min(faster, cheaper) < 1.0 and max(faster, cheaper) <= 1.01


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """All workloads under each policy."""

    options: SimulationOptions
    comparisons: tuple[Comparison, ...]

    def table(self) -> str:
        """For a terminal: makespan in seconds and actor-hours of each policy."""
        width = max(8, *(len(c.name) for c in self.comparisons))
        head = f"{'workload':<{width}}" + "".join(
            f"{who:>18}" for who in ("ours", "Ray's rule", "all there is room", "oracle")
        )
        lines = [head, " " * width + f"{'s':>10}{'act-h':>8}" * 4]
        for c in self.comparisons:
            cells = "".join(
                f"{o.makespan_s:>10.0f}{o.actor_hours:>8.2f}"
                for o in (c.ours, c.ray, c.fixed, c.oracle)
            )
            marks = ("" if c.near_oracle else "  far from the oracle") + (
                "" if c.beats_ray else "  no better than Ray"
            )
            lines.append(f"{c.name:<{width}}{cells}{marks}")
        count = len(self.comparisons)
        near = sum(c.near_oracle for c in self.comparisons)
        beaten = sum(c.beats_ray for c in self.comparisons)
        lines.append(
            f"{near} of {count} within 1.05 times the oracle's makespan and 1.1 times its "
            f"actor-hours; Ray's rule beaten in {beaten} of {count}"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; histories left out."""

        def outcome(of: Outcome) -> dict[str, float]:
            return {
                "makespan_s": of.makespan_s,
                "actor_hours": of.actor_hours,
                "cost": of.cost,
            }

        return {
            "options": dataclasses.asdict(self.options),
            "workloads": [
                {
                    "name": c.name,
                    "near_oracle": c.near_oracle,
                    "beats_ray": c.beats_ray,
                    "oracle_actors": c.oracle_actors,
                }
                | {who: outcome(getattr(c, who)) for who in ("ours", "ray", "fixed", "oracle")}
                for c in self.comparisons
            ],
        }


def run_simulation(options: SimulationOptions | None = None) -> SimulationResult:
    """Every workload under every policy."""
    options = options or SimulationOptions()
    price = options.price_per_actor_hour
    drawn = [
        dataclasses.replace(work, price=price)
        for work in workloads(options.workloads, options.seed)
    ]
    return SimulationResult(options, tuple(compare(work) for work in drawn))


def compare(workload: Workload) -> Comparison:
    """One workload under every policy."""
    most = workload.most
    actors, best, fixed = oracle(workload)
    ray = Simulation(workload, RayRule(most), nodes_asked=RayNodes()).run()
    ours = Simulation(workload, ScalingPolicy(PolicyOptions(most=most))).run()
    return Comparison(workload.name, ours, ray, fixed, best, actors)


def oracle(workload: Workload) -> tuple[int, Outcome, Outcome]:
    """The best fixed size in hindsight, its outcome, and that of the largest pool.

    Of all fixed sizes, drained when no chunk waits: the least actor-hours among those whose
    makespan is within 1 % of the least. Looked for among even shares of the room (1 to `room`
    actors on every node), and then between the best of these and its neighbours.
    """
    tried: dict[int, Outcome] = {}

    def run(actors: int) -> None:
        if 1 <= actors <= workload.most and actors not in tried:
            tried[actors] = Simulation(workload, FixedSize(actors)).run()

    def best() -> int:
        least_s = min(outcome.makespan_s for outcome in tried.values())
        near = [n for n, outcome in tried.items() if outcome.makespan_s <= _NEAR * least_s]
        return min(near, key=lambda n: tried[n].actor_hours)

    for on_each in range(1, workload.room + 1):
        run(on_each * workload.nodes)
    step = workload.nodes / 2
    while step >= 1 and step >= workload.most / 64:
        middle = best()
        run(middle - round(step))
        run(middle + round(step))
        step /= 2
    chosen = best()
    return chosen, tried[chosen], tried[workload.most]


def predict(
    curve: Curve,
    audio_s: float,
    chunk_s: float,
    load_s: float,
    actors: int,
    policy: Policy | None = None,
    chunks_s: Sequence[float] | None = None,
) -> Outcome:
    """What a run on one machine would take.

    Args:
        curve: throughput of the machine against actors, as `tune` measures it.
        audio_s: of the job, in seconds.
        chunk_s: audio of one chunk, in seconds.
        load_s: from the asking for an actor until it works, in seconds.
        actors: of the fixed pool, or at most.
        policy: that decides the size; None for a fixed pool.
        chunks_s: lengths of the job's chunks where they are known, instead of equal ones.

    Raises:
        PlanError: nothing to run, or no actor to run it.
    """
    if audio_s <= 0 or chunk_s <= 0 or actors < 1 or not curve.speeds:
        raise PlanError(
            f"There is nothing to predict for {audio_s:g} s of audio in chunks of {chunk_s:g} s "
            f"with {actors} actors: all three must be above 0, and the curve not empty."
        )
    if chunks_s is None:
        whole = math.floor(audio_s / chunk_s)
        chunks_s = [chunk_s] * whole + [audio_s - whole * chunk_s]
    chunks = tuple(length for length in chunks_s if length > 1e-9)
    workload = Workload(
        "prediction", chunks, curve, load_s, nodes=1, room=actors, load_spread=0.0, noise=0.0
    )
    return Simulation(workload, policy or FixedSize(actors)).run()
