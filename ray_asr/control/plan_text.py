"""A plan as a person reads it: each number and its reason, and what the job would take and cost.

Owns the dry run's arithmetic and its table. Pure. Must not know Ray, nor how numbers are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ray_asr.blocks import Block, Facts
from ray_asr.control.measured import Baseline
from ray_asr.control.plan import ClusterResources, Plan
from ray_asr.shown import Shown

NO_BASELINE = "no baseline: run `ray-asr tune` to have one measured"


@dataclass(frozen=True, slots=True)
class PlanReport(Shown):
    """What `ray-asr plan` prints.

    Attributes:
        plan: what would be started.
        cluster: where.
        audio_s: how much audio there is, in seconds; None where that is not known.
        actors: how many actors the expectation is for.
        x_real_time: audio-hours an hour that are expected; None without a baseline.
        wall_s: from the start to the last row, in seconds; None where speed or audio is not known.
        actor_hours: actors times that time, in hours.
        cost: of all cores and GPUs of the cluster for that time; None without a price.
    """

    width: ClassVar[int | None] = 100

    plan: Plan
    cluster: ClusterResources
    audio_s: float | None
    actors: int
    x_real_time: float | None
    wall_s: float | None
    actor_hours: float | None
    cost: float | None

    def blocks(self) -> list[Block]:
        """Each number with its reason, then what is expected."""
        return [
            Facts([("cluster", _cluster_words(self.cluster))]),
            self.plan.numbers(),
            Facts(self._expectations()),
            *self.plan.said_warnings(),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "plan": self.plan.to_dict(),
            "cluster": {
                "nodes": len(self.cluster.nodes),
                "cores": self.cluster.cores,
                "gpus": self.cluster.gpus,
                "object_store_gb": self.cluster.object_store_gb,
            },
            "audio_s": self.audio_s,
            "expected_actors": self.actors,
            "x_real_time": self.x_real_time,
            "wall_s": self.wall_s,
            "actor_hours": self.actor_hours,
            "cost": self.cost,
        }

    def _expectations(self) -> list[tuple[str, str]]:
        audio = "not given" if self.audio_s is None else f"{self.audio_s / 3600:.2f} h"
        if self.x_real_time is None:
            return [("audio", audio), ("speed", NO_BASELINE)]
        speed = f"{self.x_real_time:.0f} audio-hours an hour, with {self.actors} actors"
        rows = [("audio", audio), ("speed", speed)]
        if self.wall_s is not None and self.actor_hours is not None:
            rows += [
                ("finished after", duration(self.wall_s)),
                ("actor-hours", f"{self.actor_hours:.2f}"),
            ]
        if self.cost is not None:
            of = f"{self.cluster.cores:g} cores and {self.cluster.gpus:g} GPUs for that time"
            rows.append(("cost", f"{self.cost:.2f}, {of}"))
        return rows


def plan_report(
    plan: Plan,
    cluster: ClusterResources,
    audio_s: float | None = None,
    baseline: Baseline | None = None,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
) -> PlanReport:
    """What a plan would take.

    The speed is that of the baseline's best setting in a long job, times the actors' cores (on GPUs
    the actors) that the plan has against those that it was measured with.

    Args:
        plan: what would be started.
        cluster: where.
        audio_s: how much audio there is, in seconds.
        baseline: what was measured on nodes like these; None without one.
        price_per_cpu_hour: of one core; a GPU's price may stand alone.
        price_per_gpu_hour: of one GPU.
    """
    actors, x_real_time = plan.recognize.start, None
    if baseline is not None:
        best = baseline.best()
        if plan.autoscale:  # a wrong start is left soon
            actors = max(actors, min(best.actors, plan.recognize.most))
        if plan.num_gpus:
            share = actors / best.actors
        else:  # actors beyond the cores add nothing
            share = min(actors * plan.ncpu, plan.cores) / (best.actors * best.ncpu)
        x_real_time = baseline.steady_best() * share
    wall_s = actor_hours = cost = None
    if audio_s is not None and x_real_time:
        wall_s = (plan.load_s or 0.0) + audio_s / x_real_time
        actor_hours = actors * wall_s / 3600
        if price_per_cpu_hour is not None or price_per_gpu_hour is not None:
            hourly = cluster.cores * (price_per_cpu_hour or 0.0)
            hourly += cluster.gpus * (price_per_gpu_hour or 0.0)
            cost = hourly * wall_s / 3600
    return PlanReport(plan, cluster, audio_s, actors, x_real_time, wall_s, actor_hours, cost)


def duration(seconds: float) -> str:
    """Seconds in hours, minutes and seconds."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"


def _cluster_words(cluster: ClusterResources) -> str:
    gpus = f", {cluster.gpus:g} GPUs" if cluster.gpus else ""
    return f"{len(cluster.nodes)} node(s), {cluster.cores:g} cores{gpus}"
