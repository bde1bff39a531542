"""The policy on a cluster of any size, held against Ray's own rule, fixed pools and hindsight.

Owns the comparison and its table. Must not know Ray or FunASR, nor where workloads come from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ray_asr.blocks import Block, Cell, Grid, Said
from ray_asr.control.oracle import Hindsight, hindsight
from ray_asr.control.paper_job import Outcome, Workload
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.rival_policies import FixedSize, RayNodes, RayRule
from ray_asr.control.simulated_cluster import Simulation
from ray_asr.control.workloads import workloads
from ray_asr.errors import ConfigError
from ray_asr.shown import Shown


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
        if self.price_per_actor_hour < 0:
            raise ConfigError(f"the price is {self.price_per_actor_hour:g}: use 0 or more.")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload under each policy.

    Attributes:
        name: of the workload.
        ours: under `ScalingPolicy`.
        ray: under Ray's own rule.
        all_fit: a fixed pool of all that there is room for.
        half_fit: a fixed pool of half of that.
        hindsight: the best size, fixed or in two pieces, that nobody knew before.
    """

    name: str
    ours: Outcome
    ray: Outcome
    all_fit: Outcome
    half_fit: Outcome
    hindsight: Hindsight

    @property
    def oracle(self) -> Outcome:
        """What the best size in hindsight takes."""
        return self.hindsight.best

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

    def outcomes(self) -> dict[str, Outcome]:
        """Each policy's, under the names of the table."""
        return {
            "ours": self.ours,
            "Ray's rule": self.ray,
            "all that fit": self.all_fit,
            "half of them": self.half_fit,
            "oracle": self.oracle,
        }


@dataclass(frozen=True, slots=True)
class SimulationResult(Shown):
    """All workloads under each policy."""

    options: SimulationOptions
    comparisons: tuple[Comparison, ...]

    def blocks(self) -> list[Block]:
        """Makespan in seconds, actor-hours and, with a price, cost of each."""
        priced = self.options.price_per_actor_hour > 0
        units = ("s", "act-h", *(("cost",) if priced else ()))
        head = ["workload"]
        for who in self.comparisons[0].outcomes():
            head += [f"{who}: {units[0]}", *units[1:]]
        rows: list[list[Cell]] = []
        for c in self.comparisons:
            row: list[Cell] = [c.name]
            for o in c.outcomes().values():
                row += [f"{o.makespan_s:.0f}", f"{o.actor_hours:.2f}"]
                row += [f"{o.cost:.2f}"] if priced else []
            marks = [
                *([] if c.near_oracle else ["far from the oracle"]),
                *([] if c.beats_ray else ["no better than Ray"]),
            ]
            rows.append([*row, (", ".join(marks), "warning")])
        count = len(self.comparisons)
        near = sum(c.near_oracle for c in self.comparisons)
        beaten = sum(c.beats_ray for c in self.comparisons)
        said = (
            f"{near} of {count} within 1.05 times the oracle's makespan and 1.1 times its "
            f"actor-hours; Ray's rule beaten in {beaten} of {count}"
        )
        align = "l" + "r" * (len(head) - 1) + "l"
        return [Grid([*head, ""], rows, align), Said(said)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; histories left out."""
        return {
            "options": dataclasses.asdict(self.options),
            "workloads": [
                {
                    "name": c.name,
                    "near_oracle": c.near_oracle,
                    "beats_ray": c.beats_ray,
                    "oracle_sizes": c.hindsight.described(),
                    "ours": figures(c.ours),
                    "ray": figures(c.ray),
                    "oracle": figures(c.oracle),
                    "fixed": {n: figures(o) for n, o in sorted(c.hindsight.tried.items())},
                }
                for c in self.comparisons
            ],
        }


def figures(outcome: Outcome) -> dict[str, float]:
    """An outcome's numbers for JSON."""
    return {
        "makespan_s": outcome.makespan_s,
        "actor_hours": outcome.actor_hours,
        "cost": outcome.cost,
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


def compare(workload: Workload, period_s: float = 1.0) -> Comparison:
    """One workload under every policy, each asked every `period_s`."""
    most = workload.most
    half = max(1, most // 2)
    known = hindsight(workload, period_s)
    half_fit = known.tried.get(half) or Simulation(workload, FixedSize(half), period_s).run()
    ray = Simulation(workload, RayRule(most), period_s, nodes_asked=RayNodes()).run()
    ours = Simulation(workload, ScalingPolicy(PolicyOptions(most=most)), period_s).run()
    return Comparison(workload.name, ours, ray, known.largest, half_fit, known)
