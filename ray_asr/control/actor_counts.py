"""Stages, cores of an actor, and how many actors there are: the numbers that share the cores.

Owns their choice among configuration, baseline, and what fits. Must not know Ray or memory's parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from ray_asr.control.capacity import Need, actors_that_fit, even_share, kept_cores
from ray_asr.control.case import Case
from ray_asr.errors import PlanError

FUSED, SPLIT = "fused", "split"
_CORES_WELL_USED = 0.75
_WIDEST, _WIDEST_WITH_GPU = 4, 2
# Detection and punctuation of one core keep up with a part of a GPU only.
_DETECTORS_A_GPU_ACTOR, _PUNCTUATORS_A_GPU_ACTOR = 4, 2


@dataclass(frozen=True, slots=True)
class Actors:
    """Bounds of one stage's pool, and its size at the start."""

    least: int = 0
    start: int = 0
    most: int = 0

    def __str__(self) -> str:
        bounds = "" if self.least == self.most else f" ({self.least} to {self.most})"
        return f"{self.start}{bounds}"


def choose_stages(case: Case, batch_s: float) -> str:
    """`fused` or `split`."""
    engine, asked = case.config.engine, case.config.job.stages
    measured = case.entry.stages if case.entry is not None else ""
    # At least one detector and one punctuator of one core, and a core of the actor's own.
    room_beside = case.fit(engine.ncpu or 1, batch_s, beside=2) >= case.needed
    if asked != "auto":
        choice, reason = asked, "as job.stages says"
    elif measured == FUSED or (measured and room_beside):
        choice, reason = measured, "the fastest in the baseline"
    elif not case.num_gpus:
        choice, reason = FUSED, "on CPUs recognition takes nearly all the time"
    elif not (engine.vad_model and engine.punc_model):
        choice, reason = FUSED, "there are no three steps to take apart"
    elif not room_beside:
        choice, reason = FUSED, "no cores are left for detection and punctuation beside it"
    else:
        choice, reason = SPLIT, "a GPU would wait for detection and punctuation on the CPU"
    case.reasons["stages"] = reason
    return choice


def choose_ncpu(case: Case, batch_s: float, beside: int) -> int:
    """Cores of each recognizing actor."""
    config, nodes = case.config, case.cluster.nodes
    asked = config.job.num_actors

    def fit(ncpu: int) -> int:
        return case.fit(ncpu, batch_s, beside)

    if config.engine.ncpu:
        ncpu, reason = config.engine.ncpu, "as engine.ncpu says"
    elif case.entry is not None and fit(case.entry.ncpu):
        ncpu, reason = case.entry.ncpu, "the fastest in the baseline"
    elif case.num_gpus:
        ncpu = next((n for n in range(_WIDEST_WITH_GPU, 1, -1) if fit(n) == fit(1)), 1)
        reason = "the host's part beside a GPU, which shares one Python lock"
    elif asked and not config.control.autoscale:
        share = even_share(sum(node.computing for node in nodes), asked)
        widest = max((node.of_one_memory for node in nodes), default=1)
        ncpu = next((n for n in range(min(share, widest), 0, -1) if fit(n) >= asked), 1)
        reason = f"an even share for {asked} actor(s), after a part is kept"
        if ncpu < share:
            reason += ", of one node (and one NUMA node)"
    else:
        ncpu, reason = _by_memory(case, batch_s, beside)
    case.reasons["ncpu"] = reason
    return ncpu


def _by_memory(case: Case, batch_s: float, beside: int) -> tuple[int, str]:
    """The narrowest actors whose copies of the model fit, and why."""
    cluster = case.cluster
    kept = sum(kept_cores(node, case.reserve) for node in cluster.nodes)
    usable = min(sum(n.computing for n in cluster.nodes) - kept, cluster.cpu_slots - 1) - beside

    def well_used(ncpu: int) -> bool:
        fit = case.fit(ncpu, batch_s, beside)
        return fit >= 1 and fit * ncpu >= _CORES_WELL_USED * usable

    if all(map(cluster.memory_for_actors_gb, cluster.nodes)):
        widest = max((node.of_one_memory for node in cluster.nodes), default=1)
        ncpu = next((n for n in range(1, widest + 1) if well_used(n)), 0)
        copy_gb = case.actor_gb(batch_s)
        taken = f"{copy_gb:.1f} GB each" + ("" if case.footprint else ", assumed")
        if ncpu == 1:
            return 1, (
                "two actors of one core do more than one of two, which wait for each other in "
                f"every layer; memory holds their models ({taken})"
            )
        if ncpu:
            return ncpu, f"memory holds no model for every core ({taken})"
    ncpu = next((n for n in range(_WIDEST, 1, -1) if well_used(n)), 1)
    if ncpu > 1:
        return ncpu, "memory is not known, and fewer, wider actors hold fewer models"
    return 1, "wider actors would leave cores idle"


def count_recognizers(case: Case, ncpu: int, batch_s: float, beside: int) -> Actors:
    """Bounds and start of the recognizing pool.

    Raises:
        PlanError: what was asked for, or a single actor, does not fit.
    """
    job, control = case.config.job, case.config.control
    fit, needed = case.fit(ncpu, batch_s, beside), case.needed
    if needed > fit:
        need = case.need(ncpu, batch_s)
        if case.footprint is None:
            need = Need(ncpu, case.num_gpus)
        alone = case.fit(ncpu, batch_s, 0)
        if not alone or needed > actors_that_fit(case.cluster.as_claimed(), need, 0, beside):
            raise PlanError(_does_not_fit(case, ncpu, beside))
        case.warnings.append(
            f"{needed} actor(s) with {ncpu} core(s) each were asked for, and {fit} fit the cores "
            "that processes may really use: they will wait for each other."
        )
    entry = case.entry
    measured = entry.actors if entry is not None and entry.ncpu == ncpu else 0
    most = control.max_actors or max(fit, needed)
    start = job.num_actors or max(control.min_actors, min(most, fit, measured or fit), 1)
    if job.num_actors:
        reason = "as job.num_actors says"
    elif measured == start:
        reason = "the fastest in the baseline"
    else:
        reason = "as many as fit" if start == fit else "what the bounds allow"
    if not control.autoscale:
        case.reasons["recognize"] = f"{reason}; control.autoscale is false"
        return Actors(start, start, start)
    least_is = "control.min_actors" if control.min_actors else "one"
    most_is = "control.max_actors" if control.max_actors else "what fits"
    case.reasons["recognize"] = f"{reason}; at least {least_is}, at most {most_is}"
    if most > fit:
        case.reasons["recognize"] += f" ({fit} fit the nodes of now)"
    return Actors(control.min_actors or 1, start, most)


def _does_not_fit(case: Case, ncpu: int, beside: int) -> str:
    gpus_each = f" and {case.num_gpus:g} GPU" if case.num_gpus else ""
    also = "1 core for reading"
    if beside:
        also += ", 1 for detection and 1 for punctuation (job.stages=split)"
    memory = ""
    if case.footprint is not None:
        memory = f" ({case.actor_gb(case.longest_s):.2f} GB of memory at the least)"
    return (
        f"{case.needed} actor(s) with {ncpu} cores{gpus_each} each{memory} and {also} do not fit "
        f"the cluster ({case.cluster.described()}, of which Ray grants {case.cluster.cpu_slots} "
        "CPUs): lower engine.ncpu or job.num_actors, or add nodes."
    )


def count_beside(case: Case, stages: str, ncpu: int, actors: int) -> tuple[Actors, Actors]:
    """The pools for detection and for punctuation."""
    reasons = case.reasons
    if stages == FUSED:
        reasons["detect"] = reasons["punctuate"] = "the recognizing actors do it"
        return Actors(), Actors()
    if not case.num_gpus:
        reasons["detect"] = reasons["punctuate"] = "one keeps up with recognition on CPUs"
        return Actors(1, 1, 1), Actors(1, 1, 1)
    kept = sum(kept_cores(node, case.reserve) for node in case.cluster.nodes)
    spare = min(case.cluster.cpu_slots - 1, int(case.cluster.cores) - kept) - actors * ncpu
    punctuators = max(1, min(_PUNCTUATORS_A_GPU_ACTOR * actors, spare // 4))
    detectors = max(1, min(_DETECTORS_A_GPU_ACTOR * actors, (spare - punctuators) // 2))
    reasons["detect"] = (
        f"{_DETECTORS_A_GPU_ACTOR} for each GPU actor, at most half of the cores that are left: "
        "the others read and decode"
    )
    reasons["punctuate"] = (
        f"{_PUNCTUATORS_A_GPU_ACTOR} for each GPU actor, at most a quarter of the cores that are "
        "left"
    )
    return Actors(1, detectors, detectors), Actors(1, punctuators, punctuators)
