"""How much of the cluster a run takes, from its plan to what it did with it.

Owns the plan of a run and what becomes of it while it runs. Must not know rows or models.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ray_asr.config import Config
from ray_asr.control.announcing import ActorProcesses
from ray_asr.control.baseline import Baseline, load_baseline
from ray_asr.control.monitor import Monitor
from ray_asr.control.plan import ClusterResources, Plan, make_plan, memory_decides
from ray_asr.control.policy import PolicyOptions, ScalingPolicy
from ray_asr.control.pool_control import Policy, PoolControl, Seen
from ray_asr.control.ray_adapter import install, remove
from ray_asr.control.signals import Decision, Signals
from ray_asr.job.chunk_work import ChunkSums
from ray_asr.job.cluster import cluster_resources, model_footprint
from ray_asr.job.tune_machine import hardware_of, models_of

logger = logging.getLogger(__name__)


def plan_run(config: Config, measure: bool = True) -> Plan:
    """The plan for the Ray cluster that this process is connected to.

    Args:
        config: the job's.
        measure: load the models once where the number of actors hangs on what one takes; else, and
            where it does not, a size is assumed.

    Raises:
        ConfigError: the baseline cannot be read.
        PlanError: the job does not fit; says what is missing.
    """
    cluster = cluster_resources()
    baseline = matching_baseline(config, cluster)
    footprint = None
    if measure and memory_decides(cluster, config, baseline):
        logger.info("the models are measured once: how many actors fit hangs on their memory.")
        one_core = replace(config.engine, ncpu=max(1, config.engine.ncpu))
        footprint = model_footprint(one_core, config.job.num_gpus)
    plan = make_plan(cluster, footprint, config, baseline)
    for warning in plan.warnings:
        logger.warning("%s", warning)
    return plan


def matching_baseline(config: Config, cluster: ClusterResources) -> Baseline | None:
    """The baseline that the settings name, where it is of this hardware and these models.

    Raises:
        ConfigError: it cannot be read.
    """
    if not config.control.baseline:
        return None
    baseline = load_baseline(config.control.baseline)
    differs = baseline.matches(hardware_of(cluster), models_of(config))
    if differs:
        logger.warning(
            "the baseline %s is not used: %s. Run `ray-asr tune` here to have one.",
            config.control.baseline, "; ".join(differs),
        )  # fmt: skip
        return None
    logger.info("the baseline %s is used.", config.control.baseline)
    return baseline


@dataclass(frozen=True, slots=True)
class _FixedSize:
    """The policy of a job that is not to scale; what it is asked for still ends a wait in vain."""

    actors: int

    def decide(self, signals: Signals) -> Decision:
        """Always as many."""
        return Decision(self.actors, "control.autoscale is false")


class Steering:
    """The recognizing pool of one run under its policy.

    Args:
        config: the bounds and times of section `control`.
        plan: the run's.
        operator: the class name of the pool's callable.
        rows_total: rows that the run has to do; 0 where that is not known.
    """

    def __init__(self, config: Config, plan: Plan, operator: str, rows_total: int = 0) -> None:
        actors = plan.recognize
        options = PolicyOptions(actors.least, actors.most, config.job.num_actors)

        def policy() -> Policy:
            return ScalingPolicy(options) if plan.autoscale else _FixedSize(actors.start)

        self.control = PoolControl(
            make_policy=policy,
            operator=operator,
            num_cpus=plan.num_cpus,
            num_gpus=plan.num_gpus,
            cores=plan.cores,
            reserve_percent=plan.reserve_percent,
            actor_timeout_s=config.control.actor_timeout_s,
            look=self._look,
            tell=self._tell,
        )
        self.monitor: Monitor | None = None
        self._interval_s = config.control.sample_interval_s
        self._rows_total = rows_total
        self._split = plan.split
        self._rows, self._audio_s = 0, 0.0
        self._pool_began_s = 0.0

    @contextlib.contextmanager
    def of(self, context: Any) -> Iterator[None]:
        """Steer the executions that begin inside, of datasets made inside.

        Their reading tasks announce themselves (`graph.chunks_of_bundles`).
        """
        control = self.control
        # With stages apart, chunks that wait for recognition may be with the detectors.
        control.readers_announce = not self._split
        install(context, control)
        try:
            self.monitor = Monitor(
                control.num_cpus,
                self._interval_s,
                nodes=lambda: control.nodes,
                actors=ActorProcesses(control.name).look,
            )
            with self.monitor:
                yield
        finally:
            remove(context, control)

    def keep_on(self, context: Any) -> None:
        """Steer every execution of a dataset with this context, as long as this process lives."""
        install(context, self.control)

    def delivered(self, rows: int, audio_ms: int, chunks: ChunkSums | None = None) -> None:
        """What has come out so far, and what the work on it took."""
        self._rows, self._audio_s = rows, audio_ms / 1000
        if self.monitor is None:
            return
        run = self.monitor.run
        run.rows, run.audio_s = rows, self._audio_s
        if rows and self._rows_total:
            run.left_s = self.monitor.time_s() * max(0, self._rows_total - rows) / rows
        if chunks is not None:
            total, run.batch_size_s = chunks.total, chunks.batch_size_s
            run.padded_s, run.speech_s, run.work_s = total.padded_s, total.speech_s, total.work_s

    def said(self) -> str:
        """What the monitor knows, for the progress line: actors, machines, chunks that wait."""
        if self.monitor is None:
            return ""
        run, latest = self.monitor.run, self.monitor.latest()
        words = [f"{run.running} actor(s)"]
        if latest.busy_share is not None:
            words[0] += f" {100 * latest.busy_share:.0f} % busy"
        if run.loading:
            words.append(f"{run.loading} loading")
        for name, percent in (
            ("CPU", latest.cpu_percent),
            ("memory", _percent(latest.memory_share)),
            ("GPU", latest.gpu_percent),
            ("GPU memory", _percent(latest.gpu_memory_share)),
        ):
            if percent is not None:
                words.append(f"{name} {percent:.0f} %")
        words.append(f"{run.queued} chunk(s) wait")
        return ", ".join(words)

    def _look(self) -> Seen:
        """What the policy is told; rows that are left are taken to be like those that came."""
        left_s = None
        if self._rows and self._rows_total:
            left_s = self._audio_s * max(0, self._rows_total - self._rows) / self._rows
        if self.monitor is None:
            return Seen(self._audio_s, left_s)
        latest = self.monitor.latest()
        return Seen(
            self._audio_s,
            left_s,
            latest.cpu_percent,
            latest.gpu_percent,
            latest.gpu_memory_share,
            latest.memory_share,
        )

    def _tell(self, signals: Signals) -> None:
        if self.monitor is not None:
            # The pool counts from when it is first looked at, the samples from a little earlier.
            self._pool_began_s = self.monitor.time_s() - signals.time_s
            run = self.monitor.run
            run.running, run.loading = signals.running, signals.pending
            run.queued, run.in_flight = signals.queued, signals.in_flight

    def mean(self, name: str) -> float | None:
        """The mean of a sampled number over the run; None where nothing was sampled."""
        return None if self.monitor is None else self.monitor.mean(name)

    def samples(self) -> pa.Table | None:
        """What the monitor saw (`monitor.SAMPLES_SCHEMA`); None where nothing ran."""
        return None if self.monitor is None else self.monitor.table()

    def record(self) -> list[dict[str, Any]]:
        """Every change of the target or of the pool, with its reason, by the time of samples."""
        return [
            {
                "time_s": round(self._pool_began_s + moment.time_s, 2),
                "target": moment.target,
                "running": moment.running,
                "loading": moment.pending,
                "reason": moment.reason,
            }
            for moment in self.control.moments
        ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
