"""What a job would take on a cluster, by what a baseline measured of one of its nodes.

Owns the way from a baseline to a workload on paper, and what is said of it. Pure. Must not know
Ray, or where the job and the baseline come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_asr.blocks import Block, Facts, Grid, Said
from ray_asr.control.baseline import Baseline, Entry
from ray_asr.control.paper_job import Curve, Outcome, Workload
from ray_asr.control.plan_text import duration
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.rival_policies import FixedSize
from ray_asr.control.simulate import Comparison, compare, figures
from ray_asr.control.simulated_cluster import Simulation
from ray_asr.errors import ConfigError, PlanError
from ray_asr.shown import Shown

# A larger job is simulated in larger chunks, and a longer one with fewer decisions.
_MOST_CHUNKS, _MOST_DECISIONS = 20_000, 5_000
_AGAIN = "run `ray-asr tune` again"


@dataclass(frozen=True, slots=True)
class PaperCluster:
    """A cluster of nodes like the one that was measured.

    Attributes:
        nodes: at most.
        actors_each: that a node holds; 0: as many as were measured on one.
        nodes_at_start: that are there from the start, where the others come when asked for; 0: all.
        node_s: until a node that is asked for is there, in seconds.
        price_per_actor_hour: in any currency.
    """

    nodes: int = 1
    actors_each: int = 0
    nodes_at_start: int = 0
    node_s: float = 0.0
    price_per_actor_hour: float = 0.0

    def __post_init__(self) -> None:
        for name in ("nodes", "actors_each", "nodes_at_start", "node_s", "price_per_actor_hour"):
            least = 1 if name == "nodes" else 0
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name):g}: use {least} or more.")
        if self.nodes_at_start > self.nodes:
            raise ConfigError(
                f"{self.nodes_at_start} nodes at the start are more than there can be "
                f"({self.nodes}): lower the one or raise the other."
            )


@dataclass(frozen=True, slots=True)
class Bounds:
    """How a job's pool may scale.

    Attributes:
        least: actors.
        most: actors; 0: as many as fit.
        start: actors to begin with; 0: as many as fit.
        autoscale: whether the number changes.
    """

    least: int = 1
    most: int = 0
    start: int = 0
    autoscale: bool = True


@dataclass(frozen=True, slots=True)
class RealRun:
    """A run that really was.

    Attributes:
        run_id: its name.
        wall_s: what it took, in seconds.
    """

    run_id: str
    wall_s: float


@dataclass(frozen=True, slots=True)
class Prediction(Shown):
    """What a job would take.

    Attributes:
        workload: the job and the cluster on paper.
        setting: what was measured, of which the curve is.
        expected: the job as its settings have it scale.
        compared: the same job under each policy of the simulator.
        real: the run that it was, where it was one.
    """

    workload: Workload
    setting: Entry
    expected: Outcome
    compared: Comparison
    real: RealRun | None = None

    @property
    def error(self) -> float | None:
        """By how much of the real run's time it was mistaken; None where there was no such run."""
        return None if self.real is None else self.expected.makespan_s / self.real.wall_s - 1

    def blocks(self) -> list[Block]:
        """The job, what was measured, and what each policy would take."""
        work, setting = self.workload, self.setting
        speeds = ", ".join(f"{speed:.0f}x" for speed in work.curve.speeds[:8])
        facts = [
            ("job", f"{sum(work.chunks_s) / 3600:.2f} audio-hours, {len(work.chunks_s)} chunks"),
            ("cluster", f"{work.nodes} node(s) with up to {work.room} actor(s)" + self._arrival()),
            (
                "measured",
                f"{setting.ncpu} core(s) an actor, {setting.precision}, batches of "
                f"{setting.batch_size_s:g} s: a node with 1, 2, … actors does {speeds}; "
                f"{work.load_s:.1f} s until actors work",
            ),
        ]
        priced = work.price > 0
        head = ["", "finished after", "actor-hours", *(["cost"] if priced else [])]
        rows = [
            [name, duration(outcome.makespan_s), f"{outcome.actor_hours:.2f}"]
            + ([f"{outcome.cost:.2f}"] if priced else [])
            for name, outcome in self._rows()
        ]
        blocks: list[Block] = [Facts(facts), Grid(head, rows)]
        if self.real is not None and self.error is not None:
            blocks.append(
                Said(
                    f"{self.real.run_id} took {duration(self.real.wall_s)}; predicted "
                    f"{duration(self.expected.makespan_s)} ({100 * self.error:+.1f} %)."
                )
            )
        return blocks

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        work, known = self.workload, self.compared.hindsight
        return {
            "audio_s": sum(work.chunks_s),
            "chunks": len(work.chunks_s),
            "nodes": work.nodes,
            "actors_each": work.room,
            "load_s": work.load_s,
            "speeds": list(work.curve.speeds),
            "expected": figures(self.expected),
            "ours": figures(self.compared.ours),
            "ray": figures(self.compared.ray),
            "oracle": figures(self.compared.oracle),
            "oracle_sizes": known.described(),
            "fixed": {n: figures(outcome) for n, outcome in sorted(known.tried.items())},
            "real_wall_s": None if self.real is None else self.real.wall_s,
            "error": self.error,
        }

    def _arrival(self) -> str:
        work = self.workload
        if not work.elastic:
            return ""
        return (
            f", {work.nodes_at_start} at the start, others {work.node_s:g} s after they are asked"
        )

    def _rows(self) -> list[tuple[str, Outcome]]:
        known = self.compared.hindsight
        return [
            ("as the settings say", self.expected),
            *((name, of) for name, of in self.compared.outcomes().items() if name != "oracle"),
            (f"in hindsight: {known.described()}", self.compared.oracle),
        ]


def setting_like(baseline: Baseline, wanted: Mapping[str, Any]) -> Entry:
    """The measured setting of the most actors that a job's own numbers are.

    Args:
        baseline: what was measured.
        wanted: of `ncpu`, `precision`, `stages` and `batch_size_s` those that are known; of batches
            the nearest is taken.

    Raises:
        ConfigError: nothing like it was measured.
    """
    exact = {name: value for name, value in wanted.items() if name != "batch_size_s"}
    alike = [
        entry
        for entry in baseline.entries
        if entry.x_real_time > 0
        and not entry.error
        and all(getattr(entry, name) == value for name, value in exact.items())
    ]
    if not alike:
        said = ", ".join(f"{name}={value}" for name, value in exact.items())
        raise ConfigError(
            f"the baseline has no measurement with {said}: run `ray-asr tune` with these settings."
        )
    batch_s = wanted.get("batch_size_s", baseline.best().batch_size_s)
    return min(alike, key=lambda entry: (abs(entry.batch_size_s - batch_s), -entry.x_real_time))


def node_curve(baseline: Baseline, setting: Entry) -> Curve:
    """Speed of one node against the actors on it, in a long job; all else as in a setting."""
    nodes = max(1, baseline.hardware.nodes)
    on_a_node: dict[int, float] = {}
    for entry in baseline.beside(setting, "actors"):
        each = math.ceil(entry.actors / nodes)
        on_a_node[each] = max(on_a_node.get(each, 0.0), baseline.steady(entry) / nodes)
    return Curve.through(on_a_node)


def predict(
    baseline: Baseline,
    setting: Entry,
    audio_s: float,
    chunk_s: float,
    cluster: PaperCluster,
    bounds: Bounds | None = None,
    real: RealRun | None = None,
    chunks_s: Sequence[float] | None = None,
) -> Prediction:
    """What a job would take on a cluster.

    Args:
        baseline: of a node.
        setting: of the baseline, what the job's actors are like.
        audio_s: of the job, in seconds.
        chunk_s: audio of one chunk, in seconds.
        cluster: of nodes like the baseline's.
        bounds: how the pool may scale; None for as far as there is room.
        real: the run that it was.
        chunks_s: lengths of the job's chunks where they are known, instead of equal ones.

    Raises:
        ConfigError: the baseline does not say how long loading takes.
        PlanError: nothing to predict.
    """
    bounds = bounds or Bounds()
    if audio_s <= 0 or chunk_s <= 0:
        raise PlanError(
            f"there is nothing to predict for {audio_s:g} s of audio in chunks of {chunk_s:g} s: "
            "both must be above 0."
        )
    load_s = setting.load_s if setting.start_s is None else setting.start_s
    if load_s is None:
        raise ConfigError(f"the baseline does not say how long actors take to load: {_AGAIN}.")
    curve = node_curve(baseline, setting)
    room = cluster.actors_each or len(curve.speeds)
    cores = baseline.hardware.cores / max(1, baseline.hardware.nodes)
    workload = Workload(
        name="this job",
        chunks_s=tuple(chunks_s or _equal(audio_s, chunk_s)),
        curve=curve,
        load_s=load_s,
        nodes=cluster.nodes,
        room=room,
        nodes_at_start=cluster.nodes_at_start or cluster.nodes,
        node_s=cluster.node_s,
        load_spread=0.0,
        core_share=min(1.0, setting.ncpu / cores) if cores else 0.1,
        reserve_share=max(0.0, 1 - room * setting.ncpu / cores) if cores else 0.0,
        gpu=bool(baseline.hardware.gpus),
        price=cluster.price_per_actor_hour,
    )
    most = min(bounds.most or workload.most, workload.most)
    if bounds.least > most:
        raise PlanError(
            f"at least {bounds.least} actors are asked for, and {workload.nodes} node(s) with "
            f"{room} actor(s) each hold {workload.most}: lower control.min_actors, or add nodes."
        )
    policy = FixedSize(min(bounds.start or most, most))
    if bounds.autoscale:
        policy = ScalingPolicy(PolicyOptions(bounds.least, most, min(bounds.start, most)))
    period_s = max(1.0, audio_s / (curve.speeds[-1] * workload.nodes) / _MOST_DECISIONS)
    expected = Simulation(workload, policy, period_s).run()
    return Prediction(workload, setting, expected, compare(workload, period_s), real)


def _equal(audio_s: float, chunk_s: float) -> list[float]:
    chunk_s = max(chunk_s, audio_s / _MOST_CHUNKS)
    whole = math.floor(audio_s / chunk_s)
    rest_s = audio_s - whole * chunk_s
    return [chunk_s] * whole + ([rest_s] if rest_s > 1e-9 else [])
