"""A cluster, a model's footprint and a configuration to a `Plan`: how much runs where, and why.

Owns the plan and the order in which its numbers are chosen. Pure. Must not know Ray, models or
clocks. What fits on a node is `capacity`'s; batches are `batch_bounds`', actors `actor_counts`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from ray_asr.blocks import Block, Grid, Said
from ray_asr.config import Config
from ray_asr.control.actor_counts import (
    SPLIT,
    Actors,
    choose_ncpu,
    choose_stages,
    count_beside,
    count_recognizers,
)
from ray_asr.control.batch_bounds import batch_at_start, batch_bounds, batches_in_a_chunk
from ray_asr.control.capacity import ClusterResources, Node, even_share, kept_cores
from ray_asr.control.case import Case
from ray_asr.control.measured import Baseline, BaselineEntry, Footprint
from ray_asr.errors import PlanError
from ray_asr.shown import Shown

__all__ = [
    "Actors", "Baseline", "BaselineEntry", "ClusterResources", "Footprint", "Node", "Plan",
    "even_share", "make_plan", "memory_decides",
]  # fmt: skip

# Two chunks of rows that an actor has and two that wait for it; a reading task sorts rows over
# 960 s of audio. A second of decoded audio is 64,000 bytes.
_CHUNKS_ON_THE_WAY, _SORTED_S = 4, 960.0
_GB_PER_AUDIO_S = 64_000 / 2**30
_PLENTY_GB = 1e6


@dataclass(frozen=True, slots=True)
class Plan(Shown):
    """How much of a cluster one job takes.

    Attributes:
        ncpu: cores of each recognizing actor.
        num_gpus: GPUs of each recognizing actor: whole, or 1/n.
        recognize: recognizing actors; where stages are fused they do everything.
        detect: actors of one core for voice activity; none where stages are fused.
        punctuate: actors of one core for punctuation; none where stages are fused.
        stages: `fused` or `split`.
        batch_size_s: padded audio of a batch at the start, in seconds.
        least_batch_s: how small batches may become, in seconds.
        most_batch_s: how large batches may become, in seconds.
        precision: what the recognizer computes in; `auto` where that is known once it has loaded.
        reserve_cores: of all nodes together, cores on which no actor is meant to compute.
        object_store_gb: what rows on their way take of Ray's object store, in GiB.
        pin_cores: whether each actor is given cores of its own.
        autoscale: whether the number of recognizing actors changes while the job runs.
        load_s: from an actor's start until it takes work, in seconds; None where not measured.
        cores: of all nodes together, what processes may really use.
        reasons: for each of these numbers, why, in words.
        warnings: what the cluster or the settings want looked at.
    """

    width: ClassVar[int | None] = 100

    ncpu: int
    num_gpus: float
    recognize: Actors
    detect: Actors
    punctuate: Actors
    stages: str
    batch_size_s: float
    least_batch_s: float
    most_batch_s: float
    precision: str
    reserve_cores: int
    object_store_gb: float
    pin_cores: bool
    autoscale: bool
    load_s: float | None
    cores: float
    reasons: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def num_cpus(self) -> int:
        """What Ray is asked for: as many CPUs as there are compute threads."""
        return self.ncpu

    @property
    def split(self) -> bool:
        """Whether the stages have pools of their own."""
        return self.stages == SPLIT

    @property
    def reserve_percent(self) -> float:
        """Of all cores, those on which no actor is meant to compute, 0 to 100."""
        return 100 * self.reserve_cores / self.cores if self.cores else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "num_cpus": self.num_cpus, "warnings": list(self.warnings)}

    def blocks(self) -> list[Block]:
        """Each number with its reason, then what wants to be looked at."""
        return [self.numbers(), *self.said_warnings()]

    def said_warnings(self) -> list[Said]:
        """A sentence each."""
        return [Said(f"warning: {warning}", "warning") for warning in self.warnings]

    def numbers(self) -> Grid:
        """Each number with its reason."""
        load = "not known" if self.load_s is None else f"{self.load_s:.1f} s"
        numbers = [
            ("cores", f"{self.cores:g}"),
            ("ncpu", f"{self.ncpu}"),
            ("num_cpus", f"{self.num_cpus}"),
            ("num_gpus", f"{self.num_gpus:.4g}"),
            ("stages", self.stages),
            ("recognize", f"{self.recognize} actors"),
            ("detect", f"{self.detect} actors"),
            ("punctuate", f"{self.punctuate} actors"),
            ("autoscale", "yes" if self.autoscale else "no"),
            ("batch_size_s", f"{self.batch_size_s:g} s"),
            ("least_batch_s", f"{self.least_batch_s:g} s"),
            ("most_batch_s", f"{self.most_batch_s:g} s"),
            ("precision", self.precision),
            ("reserve_cores", f"{self.reserve_cores}"),
            ("pin_cores", "yes" if self.pin_cores else "no"),
            ("object_store_gb", f"{self.object_store_gb:.2f} GB"),
            ("load_s", load),
        ]
        rows = [(name, value, self.reasons[name]) for name, value in numbers]
        return Grid((), rows, "lll")


def make_plan(
    cluster: ClusterResources,
    footprint: Footprint | None,
    config: Config,
    baseline: Baseline | None = None,
) -> Plan:
    """The plan of one job on a cluster.

    What the configuration sets is kept; then what a baseline found fastest is taken; the rest
    follows from cores, memory and GPUs.

    Args:
        cluster: the nodes that are there.
        footprint: what an actor takes; None where it was not measured.
        config: its sections engine, batch, job and control.
        baseline: of this hardware and this model; None without one.

    Raises:
        PlanError: the job does not fit the cluster; says what is missing.
    """
    case = Case(cluster, footprint, config, baseline)
    _look_at_nodes(case)
    batch_s = batch_at_start(case)
    stages = choose_stages(case, batch_s)
    beside = 2 if stages == SPLIT else 0
    ncpu = choose_ncpu(case, batch_s, beside)
    recognize = count_recognizers(case, ncpu, batch_s, beside)
    fit = case.fit(ncpu, batch_s, beside)
    detect, punctuate = count_beside(case, stages, ncpu, max(1, min(recognize.most, fit)))
    least_s, most_s = batch_bounds(case, batch_s, ncpu)
    case.reasons["num_cpus"] = "of Ray's CPUs as many as compute threads (ncpu)"
    case.reasons["autoscale"] = "as control.autoscale says"
    return Plan(
        ncpu=ncpu,
        num_gpus=_num_gpus(case, batch_s),
        recognize=recognize,
        detect=detect,
        punctuate=punctuate,
        stages=stages,
        batch_size_s=batch_s,
        least_batch_s=least_s,
        most_batch_s=most_s,
        precision=_precision(case),
        reserve_cores=_reserve(case),
        object_store_gb=_object_store_gb(case, recognize.most, batch_s),
        pin_cores=_pin_cores(case, recognize.most <= fit),
        autoscale=config.control.autoscale,
        load_s=_load_s(case),
        cores=_cores(case),
        reasons=case.reasons,
        warnings=tuple(case.warnings),
    )


def memory_decides(
    cluster: ClusterResources, config: Config, baseline: Baseline | None = None
) -> bool:
    """Whether a plan without a measured footprint would hang on what an actor is assumed to take.

    Raises:
        PlanError: the job does not fit, whatever an actor takes.
    """
    if 0 < config.job.num_gpus < 1:
        return True  # a GPU's memory is shared out by what a batch takes
    plenty = replace(
        cluster, nodes=tuple(replace(node, memory_gb=_PLENTY_GB) for node in cluster.nodes)
    )
    assumed, free = (
        make_plan(nodes, None, config, baseline)
        for nodes in (cluster, plenty if all(n.memory_gb for n in cluster.nodes) else cluster)
    )
    return (assumed.ncpu, assumed.recognize) != (free.ncpu, free.recognize)


def _look_at_nodes(case: Case) -> None:
    """Refuse what no choice of numbers could make fit; note what Ray claims and is not there."""
    cluster = case.cluster
    # A Ray of one's own has one more CPU than cores, for reading.
    over = [node for node in cluster.nodes if node.ray_cpus > int(node.cores) + 1]
    if over:
        claimed, real = sum(n.ray_cpus for n in over), sum(n.cores for n in over)
        case.warnings.append(
            f"Ray claims {claimed:g} CPUs on {len(over)} node(s) whose processes may use {real:g} "
            "cores (affinity, cgroup quota): actors are counted by what is real; start Ray there "
            f"with --num-cpus={int(over[0].cores)}."
        )
    largest = max((node.computing for node in cluster.nodes), default=0)
    if case.reserve > 0 and case.reserve >= largest:
        raise PlanError(
            f"control.reserve_cores is {case.reserve}, but the largest node has {largest} cores "
            "that compute: keep fewer, or -1 to have it chosen."
        )
    gpus = case.num_gpus * case.needed
    if gpus > cluster.gpus + 1e-9:
        raise PlanError(
            f"{case.needed} actor(s) with {case.num_gpus:g} GPU each want {gpus:g} GPUs, and the "
            f"cluster has {cluster.gpus:g}: add GPU nodes, ask for fewer actors, share a GPU "
            "(job.num_gpus=1/n), or set engine.device=cpu."
        )


def _num_gpus(case: Case, batch_s: float) -> float:
    reason = "as job.num_gpus says" if case.num_gpus else "engine.device is cpu"
    footprint, gpu_gb = case.footprint, case.gpu_gb()
    if footprint is not None and gpu_gb:
        taken_gb = footprint.gpu_memory_gb + footprint.gpu_gb_per_padded_s * batch_s
        reason += f"; an actor takes {taken_gb:.2f} of its {gpu_gb:.2f} GB"
    case.reasons["num_gpus"] = reason
    return case.num_gpus


def _precision(case: Case) -> str:
    asked, reason = case.config.engine.precision, "as engine.precision says"
    if asked == "auto":
        reason = "chosen by each actor when it loads the model, by what its device has"
        if case.entry is not None:
            asked, reason = case.entry.precision, "the fastest in the baseline"
        elif case.footprint is not None:
            asked, reason = case.footprint.precision, "what the model chose when it was measured"
    case.reasons["precision"] = reason
    return asked


def _reserve(case: Case) -> int:
    nodes = case.cluster.nodes
    if case.reserve >= 0:
        reason = f"{case.reserve} of each node, as control.reserve_cores says"
    elif any(node.hyper_threaded for node in nodes):
        reason = "the second threads of the cores read and serve the system"
    else:
        reason = (
            "one core in 16 of each node, in 8 beside GPUs, reads and serves the system; on a "
            "small machine it would idle"
        )
    case.reasons["reserve_cores"] = reason
    return sum(kept_cores(node, case.reserve) for node in nodes)


def _cores(case: Case) -> float:
    computing = sum(node.computing for node in case.cluster.nodes)
    case.reasons["cores"] = (
        f"what processes may use by affinity and cgroup quota; {computing} compute, and Ray "
        f"grants {case.cluster.cpu_slots}"
    )
    return case.cluster.cores


def _object_store_gb(case: Case, actors: int, batch_s: float) -> float:
    readers = max(1, min(actors, case.cluster.cpu_slots // 4))
    batches = _CHUNKS_ON_THE_WAY * batches_in_a_chunk(batch_s)
    audio_s = actors * batches * batch_s + readers * _SORTED_S
    wanted_gb, store_gb = audio_s * _GB_PER_AUDIO_S, case.cluster.object_store_gb
    case.reasons["object_store_gb"] = (
        f"decoded audio: {batches} batches for each actor, {_SORTED_S:g} s for each of {readers} "
        "reading task(s)"
    )
    if 0 < store_gb < wanted_gb:
        case.warnings.append(
            f"rows on their way take {wanted_gb:.1f} GB and Ray's object store has {store_gb:.1f} "
            "GB: Ray will spill to disk; give it more, or lower batch.batch_size_s."
        )
        return store_gb
    return wanted_gb


def _pin_cores(case: Case, enough: bool) -> bool:
    if not case.config.control.pin_cores:
        pinned, reason = False, "control.pin_cores is false: the kernel places the threads"
    elif not enough:
        pinned, reason = False, "there are more actors than the cores could be given to"
    else:
        pinned, reason = True, "as control.pin_cores says"
    case.reasons["pin_cores"] = reason
    return pinned


def _load_s(case: Case) -> float | None:
    measured = case.footprint is not None
    case.reasons["load_s"] = "measured with the model" if measured else "not measured"
    return case.footprint.load_s if case.footprint is not None else None
